"""The command line of labkit: `parser` lists its commands, and ``labkit COMMAND --help`` explains one."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

import labkit
from labkit import profiles
from labkit.course import showing

BENCHES = {  # subject: (module, what it measures)
    "dp": ("labkit.bench.private_steps", "private training against Opacus's stock loop"),
    "membership": ("labkit.bench.membership", "shadow training against a plain loop, attacks against ART's"),
    "watermark": (
        "labkit.bench.watermark",
        "models without a mark against a plain loop, questions that a verdict takes",
    ),
    "audit": ("labkit.bench.audit", "planted bugs that each audit flags, and false alarms"),
    "federated": ("labkit.bench.federated", "secure aggregation against plain sums and Flower's SecAgg+"),
    "gpu": ("labkit.bench.gpu", "every way of training on a GPU against this machine's CPU"),
    "prepare": ("labkit.bench.prepare", "the one-off work of each lab, part by part"),
}

EXTRAS = {  # extra: the modules that come with it and that a command may miss
    "course": (
        "IPython",
        "ipykernel",
        "ipywidgets",
        "jupyter_client",
        "jupytext",
        "latex2mathml",
        "nbclient",
        "nbconvert",
        "nbformat",
    ),
    "site": ("pdoc",),
    "cluster": ("dask", "distributed"),
    "federated": ("flwr",),
    "simulation": ("ray",),
    "bridges": ("art", "cleverhans", "opendp", "pydp"),
}


def doctor(options: argparse.Namespace) -> int:
    from labkit import doctor

    findings = doctor.examine()
    print(doctor.text(findings))
    return int(any(item.level == doctor.PROBLEM for item in findings))


def data(options: argparse.Namespace) -> int:
    from labkit import data
    from labkit.data import sources

    sources.roots()  # a wrong LABKIT_DATA is one error, not one for each data set
    if options.fetch:
        data.load(options.fetch, source="real")
    names = [options.fetch] if options.fetch else data.DATASETS
    places = [data.locate(name) for name in names]
    for place in places:
        state = "verified" if place.verified else place.kind
        print(f"{place.name:<16}{state:<12}{place.message}")
    return int(any(place.kind == "corrupt" for place in places))


def prepare(options: argparse.Namespace) -> int:
    from labkit.training import spreading

    with spreading.scheduler(options.scheduler):
        return _prepare(options.labs)


def _prepare(labs: list[str]) -> int:
    from labkit.course.notebooks import run

    if labs == ["all"]:
        from labkit.bench.prepare import prepare

        done = prepare(_one_off_works())
        print(done.table().to_string())
        print(done)
        return int(bool(done.failed))
    for number in labs:
        print(run.prepare(number))
    return 0


def _one_off_works() -> list:
    """Return the labs' one-off work in the order of the labs, which is that of what they share."""
    from labkit.course.labs import LABS
    from labkit.scenarios.one_off import Work

    first = {lab.prepare: lab for lab in reversed(LABS) if lab.prepare}  # labs 11 and 12 have one in common
    return [Work(lab.number, lab.prepare, lab.first_minutes) for lab in LABS if first.get(lab.prepare) is lab]


def run(options: argparse.Namespace) -> int:
    from labkit.course.notebooks import run

    for path in run.run(options.lab, options.out):
        print(path)
    return 0


def build(options: argparse.Namespace) -> int:
    from labkit.course.notebooks import build

    touched = build.build(
        options.labs,
        run=options.execute,
        check=options.check,
        force=options.force,
        classroom=options.classroom,
    )
    for path in touched:
        print(f"{'differs from its source' if options.check else 'wrote'}: {path}")
    if options.check and touched:
        print("run labkit build, and commit what it writes", file=sys.stderr)
    return int(options.check and bool(touched))


def classroom(options: argparse.Namespace) -> int:
    from labkit.course.release import command

    return command.classroom(options)


def bundle(options: argparse.Namespace) -> int:
    from labkit.course.release import command

    return command.bundle(options)


def progress(options: argparse.Namespace) -> int:
    from labkit.course.exercises.overview import text

    print(text())
    return 0


def bench(options: argparse.Namespace) -> int:
    module = importlib.import_module(BENCHES[options.subject][0])
    known = (
        [_one_off_works()] if options.subject == "prepare" else []
    )  # the only one that has to know the labs
    return module.main(options.arguments, *known) or 0


def federated(options: argparse.Namespace) -> int:
    from labkit.federated.deployment import command

    return command.main([options.action, *options.arguments])


def bridge(options: argparse.Namespace) -> int:
    from labkit.bridges import command

    return command.main(options.arguments)


def review(options: argparse.Namespace) -> int:
    from labkit.governance import command

    def examples() -> dict:
        from labkit.scenarios import review_examples

        return review_examples.EXAMPLES

    return command.main(options, examples)


def site(options: argparse.Namespace) -> int:
    from labkit.site import make_site

    print(make_site(options.out))
    return 0


def drill(options: argparse.Namespace) -> int:
    from labkit.course.interview import command

    return command.main(options)


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command has its help and an example."""
    top = argparse.ArgumentParser(
        prog="labkit",
        description="A lab course you can run: differential privacy, watermarking, membership inference.",
        epilog="Begin with: labkit doctor. Each command explains itself: labkit run --help",
    )
    top.add_argument("--version", action="version", version=f"labkit {labkit.__version__}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)

    def command(function, summary: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            function.__name__,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"examples:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(function=function)
        return sub

    command(doctor, "check this machine, and name one fix per problem", "  labkit doctor && labkit run 00")

    sub = command(
        data, "say which data sets are here, and verify them", "  labkit data\n  labkit data --fetch mnist"
    )
    sub.add_argument("--fetch", metavar="NAME", help="download this one if it is not here, and check it")

    sub = command(
        prepare,
        "do the one-off work of labs now; a second call goes on where the first was stopped",
        "  labkit prepare 03\n  labkit prepare 03 --profile smoke\n  labkit prepare all\n"
        "  labkit prepare 05 --scheduler tcp://10.0.0.5:8786",
    )
    sub.add_argument("labs", nargs="+", metavar="NN", help="numbers of labs, or the word all")
    sub.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="let a cluster do it: a Dask scheduler's tcp://host:port, ray, ray://host:10001, or local; LABKIT_CACHE must be a "
        "folder that all its machines share",
    )
    _profile(sub)

    sub = command(
        run,
        "execute a lab; write its notebook and one self-contained HTML page",
        "  labkit run 02\n  labkit run 02 --profile smoke --out /tmp/lab02",
    )
    sub.add_argument("lab", metavar="NN", help="the lab's number")
    sub.add_argument(
        "--out", type=Path, default=Path("labkit-runs"), metavar="DIR", help="default: labkit-runs"
    )
    _profile(sub)

    sub = command(
        build,
        "make the notebooks from solutions/*.py",
        "  labkit build\n  labkit build 02 --execute\n  labkit build --check\n  labkit build --classroom my-course",
    )
    sub.add_argument("labs", nargs="*", metavar="NN", help="numbers of labs; all when none is given")
    sub.add_argument(
        "--execute", action="store_true", help="run the solutions, so that their outputs are new"
    )
    sub.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if a notebook differs from its source; goes alone",
    )
    sub.add_argument("--force", action="store_true", help="write over learner's copies that were worked in")
    sub.add_argument(
        "--classroom", type=Path, metavar="DIR", help="also write an nbgrader course with answer-free copies"
    )
    _profile(sub)

    from labkit.course.release import options as handing_out

    sub = command(
        classroom,
        "hand out a set without answers, make an exam of a seed, grade what learners handed in",
        handing_out.CLASSROOM_EXAMPLES,
    )
    handing_out.classroom_arguments(sub)

    sub = command(
        bundle,
        "pack wheels, prepared results, notebooks and what data may be packed, for machines without network",
        handing_out.BUNDLE_EXAMPLES,
    )
    handing_out.bundle_arguments(sub)
    _profile(sub)

    sub = command(
        site,
        "make one folder of pages to read before installing anything: executed labs, API reference, reports, benchmarks",
        "  labkit site\n  labkit site --out /tmp/labkit-site",
    )
    sub.add_argument(
        "--out",
        type=Path,
        default=Path("labkit-site"),
        metavar="DIR",
        help="new, empty, or a site that is made anew (default: labkit-site)",
    )

    command(progress, "show your progress, lab by lab", "  labkit progress")

    from labkit.course.interview import options as drilling

    sub = command(
        drill, "ask interview questions by keyboard, on time, again when they are due", drilling.EXAMPLES
    )
    drilling.arguments(sub)

    sub = command(
        bench,
        "measure speed against peers on this machine",
        "  labkit bench dp\n  labkit bench membership --json membership.json\n  labkit bench prepare 02 04",
    )
    subjects = "; ".join(f"{name}: {what}" for name, (_, what) in BENCHES.items())
    sub.add_argument("subject", choices=BENCHES, help=subjects)
    sub.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to the benchmark")

    sub = command(
        federated,
        "deploy the federated app as hospitals would, on this machine or on real hosts",
        "  labkit federated deploy --hospitals 3\n  labkit federated deploy --dry-run\n  labkit federated enrol --help",
    )
    sub.add_argument(
        "action",
        choices=["deploy", "enrol", "certify"],
        help="deploy: server and hospitals with TLS on loopback; enrol, certify: the steps at real hosts",
    )
    sub.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on; deploy --help lists them")

    sub = command(
        bridge,
        "run a tool that the course names beside labkit, and save what came of it; without a name, list them",
        "  labkit bridge\n  labkit bridge opendp\n  labkit bridge tfprivacy --out tfprivacy.json\n  labkit bridge pysyft --keep",
    )
    sub.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="TOOL", help="a tool, then --out, --keep, --python"
    )

    from labkit.governance import command as reviewing

    sub = command(
        review,
        "review a model: attacks, audits, ownership, one signed report with a decision",
        reviewing.EXAMPLES,
    )
    reviewing.arguments(sub)
    _profile(sub)
    return top


def _profile(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--profile", choices=profiles.NAMES, help="size of the run (default: LABKIT_PROFILE, or laptop)"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # output into a file on Windows is cp1252, which knows no epsilon
            stream.reconfigure(errors=showing.IN_WORDS)
    options = parser().parse_args(arguments)
    if getattr(options, "profile", None):
        os.environ["LABKIT_PROFILE"] = options.profile
    try:
        profiles.current()
    except ValueError as error:
        parser().error(str(error))
    try:
        code = options.function(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has closed it, as `head` does: no fault, and Python's own last flush must find a place.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if missing in modules), None)
        if extra is None:
            raise
        print(
            f"labkit {options.command} needs {missing}, which is not installed here: "
            f"python -m pip install 'labkit[{extra}]'",
            file=sys.stderr,
        )
        return 2
    except Exception as error:
        # The kit's own errors name their fix; any other is a fault, and its traceback is wanted.
        if not (isinstance(error, OSError) or type(error).__module__.startswith("labkit.")):
            raise
        print(f"labkit {options.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
