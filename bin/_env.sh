# Sourced by the launchers in this folder: sets `root` to the checkout and `python` to the interpreter of its
# .venv, which is made on first use and brought up to date whenever pyproject.toml or constraints.txt changed.
# It changes neither the working directory nor the caller's options.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
python=$root/.venv/bin/python

# What the environment was made from. The path is part of it: a moved checkout must be installed again.
_vqcodec_wanted() {
    echo "$root"
    sha256sum <"$root/pyproject.toml"
    sha256sum <"$root/constraints.txt"
}

_vqcodec_is_current() {
    [[ -x $python && $(cat "$root/.venv/.made-from" 2>/dev/null) == "$(_vqcodec_wanted)" ]]
}

# torch comes first and alone: asked for together with the rest, or unpinned, pip may choose a build that brings
# several gigabytes of CUDA libraries.
_vqcodec_install() {
    "$python" -c '' 2>/dev/null || "${PYTHON:-python3}" -m venv --clear "$root/.venv" || return
    cd "$root" || return
    "$python" -m pip install -q -c constraints.txt torch || return
    "$python" -m pip install -q -c constraints.txt -e '.[dev]' || return
    _vqcodec_wanted >.venv/.made-from
}

_vqcodec_set_up() (
    echo "vqcodec: setting up $root/.venv (once, some minutes) ..." >&2
    flock 9 # of two that start at once, the second waits and then finds the work done
    _vqcodec_is_current && exit 0
    log=$(mktemp) || exit
    trap 'rm -f "$log"' EXIT
    _vqcodec_install >"$log" 2>&1 9<&- && exit 0
    tail -n 20 "$log" >&2
    echo "vqcodec: the environment could not be set up" >&2
    exit 1
) 9<"$root/pyproject.toml"

_vqcodec_is_current || _vqcodec_set_up || exit 1
