"""A PySyft data site answers an approved request with a private mean. Runs in its own environment, without labkit.

The site lives in this process and on no network. The owner holds the private records, a guest sees mock records only,
submits code, and gets an answer once the owner has approved it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import syft as sy


def site_with(name, records, mock, terms):
    """Return the owner's client, a guest's, and the guest's view of the records and of the public terms."""
    server = sy.orchestra.launch(name=name, reset=True)
    owner = server.login(email="info@openmined.org", password="changethis")
    asset = sy.Asset(name="values", data=records, mock=mock, mock_is_real=False)
    public = sy.Asset(name="terms", data=terms, mock=terms, mock_is_real=True)
    owner.upload_dataset(sy.Dataset(name="records", asset_list=[asset, public]))
    owner.register(name="Guest", email="guest@example.org", password="guest", password_verify="guest")
    guest = server.login(email="guest@example.org", password="guest")
    held = {asset.name: asset for asset in guest.datasets[0].assets}
    return owner, guest, held["values"], held["terms"]


def refused(work):
    """Return why the site turned a call down, or None if it did not."""
    try:
        work()
    except Exception as error:
        return str(error).strip().splitlines()[0][:200]
    return None


def private_half(asset):
    """Return what the guest is told on reading the private records, or None if they were handed out."""
    shown = asset.data
    return None if isinstance(shown, np.ndarray) else str(shown)[:200]


def main(asked, found):
    request = json.loads(Path(asked).read_text(encoding="utf-8"))
    records, mock = np.array(request["records"]), np.array(request["mock"])
    terms = np.array([request["low"], request["high"], request["epsilon"], request["repeats"]])
    owner, guest, values, shown = site_with("hospital", records, mock, terms)
    answer = {"private records": private_half(values)}

    @sy.syft_function_single_use(values=values, terms=shown)
    def private_mean(values, terms):
        import numpy as np

        low, high, epsilon, _ = terms
        inside = np.clip(values, low, high)
        scale = (high - low) / len(inside) / epsilon
        return float(inside.mean() + np.random.default_rng().laplace(0.0, scale))

    guest.code.request_code_execution(private_mean)

    def call():
        return guest.code.private_mean(values=values, terms=shown)

    answer["before approval"] = refused(call)
    owner.requests[-1].approve()
    answer["answer"] = float(call().get())
    answer["again"] = []
    for _ in range(3):
        reason = refused(lambda: answer["again"].append(float(call().get())))
        if reason:
            answer["again"].append(reason)

    # The law of the site's noise, on a second site whose records are the public mock ones: nobody pays for it.
    owner, guest, values, shown = site_with("public", mock, np.zeros_like(mock), terms)

    @sy.syft_function_single_use(values=values, terms=shown)
    def many_means(values, terms):
        import numpy as np

        low, high, epsilon, repeats = terms
        inside = np.clip(values, low, high)
        scale = (high - low) / len(inside) / epsilon
        rng = np.random.default_rng()
        return [float(inside.mean() + rng.laplace(0.0, scale)) for _ in range(int(repeats))]

    guest.code.request_code_execution(many_means)
    owner.requests[-1].approve()
    drawn = guest.code.many_means(values=values, terms=shown)
    answer["many"] = [float(value) for value in drawn.get()]
    Path(found).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
