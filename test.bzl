"""A test that runs a script in the source tree, with GOSV_BINARY set to the binary under test."""

_RUNNER = """#!/bin/bash
set -euo pipefail
# Go's caches are in the user's home, which Bazel hides.
export HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
export GOSV_BINARY=$(readlink -f {binary})
# The sources themselves: the links that Bazel makes to them cannot be embedded.
cd "$(dirname "$(readlink -f {root})")"
exec bash {script}
"""

def _go_tree_test(ctx):
    runner = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(runner, _RUNNER.format(
        binary = ctx.executable.binary.short_path,
        root = ctx.file.root.short_path,
        script = ctx.file.script.short_path,
    ), is_executable = True)
    files = [ctx.executable.binary, ctx.file.root, ctx.file.script] + ctx.files.sources
    return [DefaultInfo(executable = runner, runfiles = ctx.runfiles(files = files))]

go_tree_test = rule(
    implementation = _go_tree_test,
    test = True,
    attrs = {
        "binary": attr.label(executable = True, cfg = "target"),
        "root": attr.label(allow_single_file = True),
        "script": attr.label(allow_single_file = True),
        "sources": attr.label(),
    },
)

def _no_coverage(ctx):
    ctx.file("BUILD", 'filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])')

# Stands for what Bazel would download before any test, to report coverage.
no_coverage = repository_rule(implementation = _no_coverage)
