#!/bin/sh
# Set up .venv with realmat and the extras named: sh tools/setup.sh [extra[,extra...]]
# Says nothing and ends at once where that was already done for this pyproject.toml, this Python and this folder.
# PYTHON names the interpreter for a new .venv; pip's own configuration says where packages come from. Versions are those of constraints.txt,
# with which the suite passed; NEWEST=1 takes the newest of everything instead.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

extras=${1:-}
stamp=.venv/.done-${extras:-runtime}
lock=.venv.lock

state() {  # what an installation depends on: a moved folder breaks the scripts in .venv/bin
    cat pyproject.toml constraints.txt 2>/dev/null | cksum
    echo "${NEWEST:+newest}"
    .venv/bin/python -c 'import sys; print(sys.version)'
    pwd -P
}

done_already() { [ -f "$stamp" ] && [ "$(state 2>&1)" = "$(cat "$stamp")" ]; }

serves() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

candidates() {
    printf '%s\n' python3.13 python3.12 python3.14 python3 python
    uv python find --no-project '>=3.12' 2>/dev/null || true
    for root in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do printf '%s\n' "$root"; done
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if serves "$PYTHON"; then printf '%s\n' "$PYTHON"; fi
        return 0
    fi
    candidates | while IFS= read -r candidate; do
        if serves "$candidate"; then
            printf '%s\n' "$candidate"
            break
        fi
    done
}

say_what_is_missing() {
    echo "realmat needs Python 3.12 or newer with its venv module. What is here does not serve:"
    { [ -n "${PYTHON:-}" ] && printf '%s\n' "$PYTHON" || candidates; } | while IFS= read -r candidate; do
        version=$("$candidate" -c 'import sys; print(sys.version.split()[0])' 2>/dev/null) || continue
        lacks=$("$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1 || echo ', without venv (on Debian and Ubuntu: the package python3-venv)')
        echo "  $candidate: Python $version$lacks"
    done
    echo "Install one (apt install python3 python3-venv, brew install python@3.13, uv python install 3.13, pyenv install 3.13)"
    echo "and run the same command again; or name one, as in: make test PYTHON=/path/to/python3.13"
}

take_lock() {  # a lock whose owner is gone is an interrupted set-up, and what it left cannot be trusted
    until (set -C; echo $$ >"$lock") 2>/dev/null; do
        sleep 1
        owner=$(cat "$lock" 2>/dev/null || true)
        [ -e "$lock" ] || continue
        if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then continue; fi
        echo "An earlier set-up of .venv was interrupted: starting it again."
        rm -rf .venv "$lock"
    done
}

if [ ! -e "$lock" ] && done_already; then exit 0; fi
trap 'exit 130' INT TERM HUP
take_lock
if done_already; then  # by the one who held the lock before
    rm -f "$lock"
    exit 0
fi

if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
    python=$(find_python)
    if [ -z "$python" ]; then
        rm -f "$lock"
        say_what_is_missing >&2
        exit 1
    fi
    "$python" -m venv --clear .venv
fi

for older in .venv/.done-*; do  # what was installed for another pyproject.toml will no longer be sure to stand
    if [ -f "$older" ] && [ "$(cat "$older")" != "$(state)" ]; then rm -f "$older"; fi
done
echo "Installing realmat${extras:+ with the extras for $extras} into .venv: some minutes the first time."
versions="--constraint constraints.txt"
if [ -n "${NEWEST:-}" ]; then versions="--upgrade --upgrade-strategy eager"; fi
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check $versions --editable ".${extras:+[$extras]}"; then
    rm -f "$lock"
    echo "pip could not install realmat: its message above says why. Mend that and run the same command again." >&2
    exit 1
fi
.venv/bin/python -m compileall -q src models || true  # pip leaves an editable installation as text, to be compiled at each start
state >"$stamp.new"
mv "$stamp.new" "$stamp"
rm -f "$lock"
