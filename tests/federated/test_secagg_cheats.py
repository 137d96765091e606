"""A server (or a hospital) that cheats: each attempt is made with real messages, and refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from secagg_scenes import NAMES, Scene

from labkit.federated.secagg import Client, Identity, SecAggError, fresh_round_id
from labkit.federated.secagg.keys import AgreementKey
from labkit.federated.secagg.messages import SurvivorList


@pytest.fixture
def scene() -> Scene:
    return Scene(fresh_round_id())


def forget_rounds(scene: Scene, name: str) -> None:
    """Give a hospital the same key without its memory of rounds, so that it can join this one under other terms."""
    scene.identities[name] = Identity(scene.identities[name].to_bytes()[:32])


def test_the_honest_round_that_all_attempts_start_from_gives_the_sum(scene: Scene) -> None:
    signatures = scene.server.signatures(scene.signed())
    total = scene.server.unmask([client.unmask(signatures) for client in scene.clients.values()])
    assert total.tolist() == sum(scene.values.values()).tolist()


def test_a_peer_cannot_be_both_alive_and_dropped(scene: Scene) -> None:
    scene.masked()
    both = SurvivorList(scene.round_id, NAMES, ("Ash",))
    with pytest.raises(SecAggError, match=r"\['Ash'\] are listed as both alive and dropped"):
        scene.clients["Birch"].consistency(both)


def test_two_lists_of_survivors_never_open_both_secrets(scene: Scene) -> None:
    """The server says "Ash is alive" to two and "Ash is dropped" to two: whichever signatures it passes on, too few fit."""
    scene.masked()
    alive = SurvivorList(scene.round_id, NAMES, ())
    gone = SurvivorList(scene.round_id, NAMES[1:], ("Ash",))
    told = {"Ash": alive, "Birch": alive, "Cedar": alive, "Doum": gone, "Elm": gone}
    signed = {name: scene.clients[name].consistency(announced) for name, announced in told.items()}
    for name in ("Birch", "Doum"):
        with pytest.raises(SecAggError, match="the survivors were changed"):
            scene.clients[name].unmask([*signed.values()])
    with pytest.raises(SecAggError, match="2 of 5 hospitals are left at stage 'unmask'"):
        scene.clients["Elm"].unmask([signed["Doum"], signed["Elm"]])


def test_survivors_cannot_change_after_they_were_signed(scene: Scene) -> None:
    signed = scene.signed()
    with pytest.raises(SecAggError, match="Each stage happens once"):
        scene.clients["Ash"].consistency(SurvivorList(scene.round_id, NAMES[:4], ("Elm",)))
    changed = [replace(one, survivors=NAMES[:4]) for one in signed]
    with pytest.raises(SecAggError, match="the survivors were changed"):
        scene.clients["Birch"].unmask(changed)


def test_no_answer_reveals_both_secrets_of_one_peer(scene: Scene) -> None:
    signed = scene.signed(NAMES[:4])
    signatures = scene.server.signatures(signed)
    for name in NAMES[:4]:
        answer = scene.clients[name].unmask(signatures)
        assert [peer for peer, _ in answer.seed_shares] == list(NAMES[:4])
        assert [peer for peer, _ in answer.key_shares] == ["Elm"]


@pytest.mark.parametrize(
    ("survivors", "dropped", "said"),
    [
        (NAMES[:2], NAMES[2:], "2 of 5 hospitals are left"),
        (NAMES[1:], ("Ash",), "listed as dropped: its mask key would be opened"),
        (NAMES[:4], (), "are not the hospitals that shared"),
        ((*NAMES, "Fir"), (), "are not the hospitals that shared"),
    ],
)
def test_other_lists_of_survivors_are_refused(
    scene: Scene, survivors: tuple, dropped: tuple, said: str
) -> None:
    scene.masked()
    with pytest.raises(SecAggError, match=said):
        scene.clients["Ash"].consistency(SurvivorList(scene.round_id, survivors, dropped))


def test_substituted_keys_are_refused(scene: Scene) -> None:
    """The server puts a key of its own in Birch's place, to read the shares meant for Birch."""
    keys = {name: client.advertise() for name, client in scene.clients.items()}
    own = AgreementKey.generate().public
    forged = [replace(keys["Birch"], share_key=own), replace(keys["Birch"], mask_key=own)]
    for victim, one in zip(("Ash", "Doum"), forged, strict=True):
        with pytest.raises(SecAggError, match="key substituted"):
            scene.clients[victim].share([*(keys | {"Birch": one}).values()])
    with pytest.raises(SecAggError, match="not its own of this round"):
        scene.clients["Cedar"].share([one for name, one in keys.items() if name != "Cedar"])


def test_a_stranger_who_signs_for_a_hospital_is_refused(scene: Scene) -> None:
    keys = {name: client.advertise() for name, client in scene.clients.items()}
    forged = replace(keys["Birch"], signature=b"")
    forged = replace(forged, signature=Identity.generate().sign(forged.signed()))
    with pytest.raises(SecAggError, match="key substituted"):
        scene.clients["Ash"].share([*(keys | {"Birch": forged}).values()])
    guest = replace(keys["Birch"], sender="Fir")
    with pytest.raises(SecAggError, match=r"\['Fir'\] are not on the roster"):
        scene.clients["Cedar"].share([*keys.values(), guest])


def test_a_hospital_that_repeats_anothers_keys_is_refused(scene: Scene) -> None:
    keys = {name: client.advertise() for name, client in scene.clients.items()}
    copied = replace(keys["Elm"], mask_key=keys["Birch"].mask_key)
    copied = replace(copied, signature=scene.identities["Elm"].sign(copied.signed()))
    with pytest.raises(SecAggError, match="appears twice"):
        scene.clients["Ash"].share([*(keys | {"Elm": copied}).values()])


def test_hospitals_that_were_shown_different_keys_cannot_go_on(scene: Scene) -> None:
    """The server shows Ash a group without Elm: shares from Ash then open for nobody who saw Elm."""
    keys = {name: client.advertise() for name, client in scene.clients.items()}
    boxes = {"Ash": scene.clients["Ash"].share([keys[name] for name in NAMES[:4]])}
    for name in NAMES[1:4]:
        boxes[name] = scene.clients[name].share([*keys.values()])
    to_birch = [box for sent in boxes.values() for box in sent if box.receiver == "Birch"]
    with pytest.raises(SecAggError, match="do not open"):
        scene.clients["Birch"].masked(scene.values["Birch"], to_birch)


def test_a_replayed_round_is_refused(scene: Scene) -> None:
    old = [client.advertise() for client in scene.clients.values()]
    with pytest.raises(SecAggError, match="already taken part in"):
        scene.client("Ash")
    later = Scene(fresh_round_id(), identities=scene.identities)
    fresh = {name: client.advertise() for name, client in later.clients.items()}
    with pytest.raises(SecAggError, match="replayed"):
        later.clients["Ash"].share([fresh["Ash"], *old[1:]])


def test_shares_and_signatures_of_another_round_are_refused(scene: Scene) -> None:
    old_mail = scene.shared()
    later = Scene(fresh_round_id(), identities=scene.identities)
    mail = later.shared()
    with pytest.raises(SecAggError, match="replayed"):
        later.clients["Ash"].masked(later.values["Ash"], old_mail["Ash"])
    renamed = [replace(box, round_id=later.round_id) for box in old_mail["Birch"]]
    with pytest.raises(SecAggError, match="do not open"):
        later.clients["Birch"].masked(later.values["Birch"], renamed)
    assert later.clients["Cedar"].masked(later.values["Cedar"], mail["Cedar"]).sender == "Cedar"


def test_different_models_stop_the_round(scene: Scene) -> None:
    """Pasquini et al. 2022: a server that sends each hospital its own model can read one update out of the sum."""
    forget_rounds(scene, "Elm")
    other = scene.client("Elm", b"another model")
    keys = [scene.clients[name].advertise() for name in NAMES[:4]] + [other.advertise()]
    with pytest.raises(SecAggError, match="the server sent different models"):
        scene.clients["Ash"].share(keys)
    with pytest.raises(SecAggError, match="the server sent different models"):
        other.share(keys)


def test_different_terms_stop_the_round(scene: Scene) -> None:
    forget_rounds(scene, "Elm")
    roster, _, grid, round_id, model = scene.terms()
    other = Client("Elm", scene.identities["Elm"], roster, 4, grid, round_id, model)
    keys = [scene.clients[name].advertise() for name in NAMES[:4]] + [other.advertise()]
    with pytest.raises(SecAggError, match="differ in roster, threshold or encoding"):
        scene.clients["Ash"].share(keys)


def test_a_round_of_one_or_two_is_refused_at_every_stage(scene: Scene) -> None:
    keys = [client.advertise() for client in scene.clients.values()]
    for few in (keys[:1], keys[:2]):
        client = Scene(fresh_round_id()).clients["Ash"]
        client.advertise()
        with pytest.raises(SecAggError, match="expected at least the threshold"):
            client.share(few)
    scene.clients["Ash"].share(keys)
    with pytest.raises(SecAggError, match="1 of 5 hospitals are left at stage 'masked'"):
        scene.clients["Ash"].masked(scene.values["Ash"], [])


def test_a_stage_happens_once_and_in_order(scene: Scene) -> None:
    client = scene.clients["Ash"]
    with pytest.raises(SecAggError, match="expected 'advertise'"):
        client.share([])
    with pytest.raises(SecAggError, match="this client stopped"):
        client.advertise()
    scene = Scene(fresh_round_id())
    mail = scene.shared()
    scene.clients["Ash"].masked(scene.values["Ash"], mail["Ash"])
    with pytest.raises(SecAggError, match="Each stage happens once"):
        scene.clients["Ash"].masked(scene.values["Ash"], mail["Ash"])
    signed = Scene(fresh_round_id())
    signatures = signed.server.signatures(signed.signed())
    signed.clients["Ash"].unmask(signatures)
    with pytest.raises(SecAggError, match="the round is over"):
        signed.clients["Ash"].unmask(signatures)


def test_after_a_refusal_a_client_says_nothing_more(scene: Scene) -> None:
    scene.masked()
    with pytest.raises(SecAggError, match="both alive and dropped"):
        scene.clients["Ash"].consistency(SurvivorList(scene.round_id, NAMES, ("Elm",)))
    with pytest.raises(SecAggError, match="this client stopped"):
        scene.clients["Ash"].consistency(SurvivorList(scene.round_id, NAMES, ()))


def test_signatures_that_do_not_fit_open_nothing(scene: Scene) -> None:
    signed = scene.signed()
    forged = replace(signed[1], signature=signed[2].signature)
    with pytest.raises(SecAggError, match="does not fit"):
        scene.clients["Ash"].unmask([signed[0], forged, *signed[2:]])
    with pytest.raises(SecAggError, match="has two SignedSurvivors"):
        scene.clients["Birch"].unmask([signed[0], signed[0], signed[1]])


def test_a_hospital_with_another_key_than_the_rosters_does_not_start(scene: Scene) -> None:
    with pytest.raises(SecAggError, match="another key for 'Ash'"):
        Client("Ash", Identity.generate(), *scene.terms())
    with pytest.raises(SecAggError, match="no key for 'Fir'"):
        Client("Fir", Identity.generate(), *scene.terms())
    roster = scene.terms()[0] | {"Elm": (1).to_bytes(32, "little")}
    with pytest.raises(SecAggError, match="small order"):
        Client("Ash", Identity(scene.identities["Ash"].to_bytes()[:32]), roster, *scene.terms()[1:])


def test_a_wrong_share_gives_no_sum_rather_than_a_wrong_one(scene: Scene) -> None:
    signatures = scene.server.signatures(scene.signed(NAMES[:4]))
    honest = [scene.clients[name].unmask(signatures) for name in NAMES[:4]]
    for field in ("seed_shares", "key_shares"):
        shares = getattr(honest[0], field)
        wrong = replace(honest[0], **{field: ((shares[0][0], bytes(66)), *shares[1:])})
        with pytest.raises(SecAggError, match="wrong"):
            scene.server.unmask([wrong, *honest[1:]])
    expected = sum(scene.values[name] for name in NAMES[:4])
    assert scene.server.unmask(honest).tolist() == expected.tolist()


def test_the_server_takes_one_masked_input_of_each_in_time(scene: Scene) -> None:
    first = scene.masked(NAMES[:4])[0]
    with pytest.raises(SecAggError, match="not expected"):
        scene.server.add(first)
    longer = Scene(fresh_round_id(), {name: np.zeros(3 if name == "Elm" else 2, int) for name in NAMES})
    with pytest.raises(SecAggError, match="as the others"):
        longer.masked()
    scene.server.survivors()
    with pytest.raises(SecAggError, match="in time"):
        scene.server.add(replace(first, sender="Elm"))


def test_a_share_that_is_wrong_by_one_is_noticed_by_what_was_committed_to(scene: Scene) -> None:
    """It gives a secret of the right size, but not the one that the hospital advertised."""
    signatures = scene.server.signatures(scene.signed(NAMES[:4]))
    honest = [scene.clients[name].unmask(signatures) for name in NAMES[:4]]
    for field, said in (("seed_shares", "committed to"), ("key_shares", "advertised")):
        (peer, share), *rest = getattr(honest[2], field)
        value = int.from_bytes(share, "big") ^ 1
        wrong = replace(honest[2], **{field: ((peer, value.to_bytes(66, "big")), *rest)})
        with pytest.raises(SecAggError, match=said):
            scene.server.unmask([*honest[:2], wrong, honest[3]])


def test_the_server_opens_nothing_for_answers_that_were_not_asked_for(scene: Scene) -> None:
    signed = scene.signed(NAMES[:4])
    signatures = scene.server.signatures(signed[:3])  # Doum did not sign in time
    honest = [scene.clients[name].unmask(signatures) for name in NAMES[:4]]
    with pytest.raises(SecAggError, match="expected some of those that signed"):
        scene.server.unmask(honest)
    for changed in (
        replace(honest[0], seed_shares=honest[0].seed_shares[1:]),
        replace(honest[0], key_shares=()),
        replace(honest[0], key_shares=honest[0].seed_shares[:1]),
    ):
        with pytest.raises(SecAggError, match="shares of others than survivors"):
            scene.server.unmask([changed, *honest[1:3]])
    assert scene.server.unmask(honest[:3]).tolist() == sum(scene.values[name] for name in NAMES[:4]).tolist()


def test_a_signature_of_a_hospital_outside_the_sum_counts_for_nothing(scene: Scene) -> None:
    scene.masked(NAMES[:4])
    signed = [scene.clients[name].consistency(scene.server.survivors()) for name in NAMES[:4]]
    view = scene.server.terms.view(scene.shown)
    text = scene.server.terms.signed_survivors(view, NAMES, NAMES[:4])
    outside = replace(signed[0], sender="Elm", signature=scene.identities["Elm"].sign(text))
    with pytest.raises(SecAggError, match="Elm signed, but sent no masked input"):
        scene.server.signatures([*signed, outside])
    with pytest.raises(SecAggError, match="Elm signed, but is not among the survivors"):
        scene.clients["Ash"].unmask([*signed, outside])


def test_shares_that_were_sent_elsewhere_or_left_out_are_refused(scene: Scene) -> None:
    shown = scene.server.advertisements([client.advertise() for client in scene.clients.values()])
    boxes = {name: client.share(shown) for name, client in scene.clients.items()}
    with pytest.raises(SecAggError, match="Ash did not send one message to each"):
        scene.server.shares(boxes | {"Ash": boxes["Ash"][1:]})
    with pytest.raises(SecAggError, match="Ash did not send one message to each"):
        scene.server.shares(boxes | {"Ash": [replace(boxes["Ash"][0], sender="Elm"), *boxes["Ash"][1:]]})
    mail = scene.server.shares(boxes)
    with pytest.raises(SecAggError, match="wrong address"):
        scene.clients["Birch"].masked(scene.values["Birch"], mail["Cedar"])


def test_a_hospital_that_seals_nonsense_is_noticed(scene: Scene) -> None:
    mail = scene.shared()
    nonsense = replace(mail["Birch"][0], box=scene.clients["Ash"]._seal("Birch", b"too short"))
    with pytest.raises(SecAggError, match="shares of Ash have 9 bytes"):
        scene.clients["Birch"].masked(scene.values["Birch"], [nonsense, *mail["Birch"][1:]])


@pytest.mark.parametrize("values", [np.zeros((2, 2), int), np.zeros(0, int), np.int64(3)])
def test_a_vector_is_flat_and_not_empty(scene: Scene, values: np.ndarray) -> None:
    mail = scene.shared()
    with pytest.raises(SecAggError, match="expected one flat vector"):
        scene.clients["Ash"].masked(values, mail["Ash"])


def test_words_of_another_size_are_refused(scene: Scene) -> None:
    mail = scene.shared()
    message = scene.clients["Ash"].masked(scene.values["Ash"], mail["Ash"])
    with pytest.raises(SecAggError, match="sent uint64; expected uint32"):
        scene.server.add(replace(message, vector=message.vector.astype("<u8")))
