# Sourced by the launchers in this folder: sets `root` to the checkout and `python` to the interpreter of its
# .venv, which is created on first use and updated when pyproject.toml or constraints.txt has changed.
# PYTHON names the interpreter to create it with (default: python3). Working directory and shell options stay.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
python=$root/.venv/bin/python

# Print what the environment depends on. The path is part of it: a moved checkout must be installed again.
_vqcodec_wanted() {
    echo "$root"
    sha256sum <"$root/pyproject.toml"
    sha256sum <"$root/constraints.txt"
}

_vqcodec_is_current() {
    [[ -x $python && $(cat "$root/.venv/.made-from" 2>/dev/null) == "$(_vqcodec_wanted)" ]]
}

# Install torch first, alone and pinned: otherwise pip may choose a build with several gigabytes of CUDA libraries.
_vqcodec_install() {
    "$python" -c '' 2>/dev/null || "${PYTHON:-python3}" -m venv --clear "$root/.venv" || return
    cd "$root" || return
    "$python" -m pip install -q -c constraints.txt torch || return
    "$python" -m pip install -q -c constraints.txt -e '.[dev]' || return
    _vqcodec_wanted >.venv/.made-from
}

_vqcodec_set_up() (
    echo "vqcodec: setting up $root/.venv (once, takes some minutes) ..." >&2
    flock 9 # a second launcher waits, then finds the environment current
    _vqcodec_is_current && exit 0
    log=$(mktemp) || exit
    trap 'rm -f "$log"' EXIT
    _vqcodec_install >"$log" 2>&1 9<&- && exit 0
    tail -n 20 "$log" >&2
    echo "vqcodec: cannot set up $root/.venv; the end of pip's output is above" >&2
    exit 1
) 9<"$root/pyproject.toml"

_vqcodec_is_current || _vqcodec_set_up || exit 1
