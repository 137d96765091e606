"""What ``labkit classroom`` and ``labkit bundle`` do."""

from __future__ import annotations

import argparse
import sys

from labkit.course import grading
from labkit.course.labs import LABS
from labkit.course.release import handing_out, packing, variants


def classroom(options: argparse.Namespace) -> int:
    """Release, draw an exam, or grade; print the paths of what was written."""
    if options.action == "release":
        written = handing_out.hand_out(options.folder, force=options.force)
        print(
            f"answers that stay readable, as functions of labkit: {', '.join(handing_out.readable())}",
            file=sys.stderr,
        )
    elif options.action == "variant":
        written = variants.make_variant(options.folder, options.seed, force=options.force)
    else:
        limits = {"seconds": options.seconds, "megabytes": options.megabytes}
        written = list(grading.grade(options.folder, **limits, force=options.force))
    for path in written:
        print(path)
    if not written:
        print(f"{options.folder} is as it should be: nothing was written")
    return 0


def bundle(options: argparse.Namespace) -> int:
    """Make a bundle and print its folder."""
    labs = [lab.number for lab in LABS if lab.prepare] if options.labs == ["all"] else options.labs
    print(
        packing.pack(
            options.folder,
            labs=labs,
            extras=options.extras,
            own_data=options.own_data,
            answer_free=options.answer_free,
        )
    )
    return 0
