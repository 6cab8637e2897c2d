"""Scripts that complete command lines, for bash, zsh and fish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from edgerouter.cli.completion.table import SHELLS, Option, Place

_ASK: Final = "command edgerouter complete-names"

_TABLES: Final = """\
_edgerouter_words() {
  case "$1" in
@words@
  esac
}

_edgerouter_kind() {
  case "$1:$2" in
@kinds@
    *:-*) echo flag ;;
  esac
}

_edgerouter_argument() {
  case "$1" in
@arguments@
  esac
}

_edgerouter_place() {
  case "$1" in
    @places@) return 0 ;;
  esac
  return 1
}"""
"""Functions that bash and zsh share."""

_BASH: Final = """\
# bash completion of edgerouter; written by `edgerouter completion bash`.
# Use: edgerouter completion bash > /etc/bash_completion.d/edgerouter

@tables@

_edgerouter() {
  local cur=${COMP_WORDS[COMP_CWORD]} path="" kind="" word i where=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == "=" ]]; then continue; fi
    if [[ -n $kind && $kind != flag ]]; then
      if [[ ${COMP_WORDS[i-1]} == "=" ]]; then where+=("${COMP_WORDS[i-2]}" "$word"); else where+=("${COMP_WORDS[i-1]}" "$word"); fi
      kind=""
    elif [[ $word == -* ]]; then
      kind=$(_edgerouter_kind "$path" "$word")
    elif _edgerouter_place "$path/$word"; then
      path=$path/$word
    fi
  done
  if [[ $cur == "=" ]]; then cur=""; fi
  if [[ -z $kind || $kind == flag ]]; then
    kind=$(_edgerouter_argument "$path")
    if [[ $cur == -* || -z $kind || $kind == text ]]; then kind=words; fi
  fi
  COMPREPLY=()
  case $kind in
    words) mapfile -t COMPREPLY < <(compgen -W "$(_edgerouter_words "$path")" -- "$cur") ;;
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    shell) mapfile -t COMPREPLY < <(compgen -W "@shells@" -- "$cur") ;;
    sink | source) mapfile -t COMPREPLY < <(compgen -W "$(@ask@ "$kind" "${where[@]}" 2>/dev/null)" -- "$cur") ;;
  esac
}

complete -F _edgerouter edgerouter
"""

_ZSH: Final = """\
#compdef edgerouter
# zsh completion of edgerouter; written by `edgerouter completion zsh`.
# Use: edgerouter completion zsh > "${fpath[1]}/_edgerouter"

@tables@

_edgerouter() {
  local cur=${words[CURRENT]} location="" kind="" word previous="" i
  local -a given found
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    if [[ -n $kind && $kind != flag ]]; then
      given+=("$previous" "$word")
      kind=""
    elif [[ $word == --*=* ]]; then
      given+=("$word")
    elif [[ $word == -* ]]; then
      kind=$(_edgerouter_kind "$location" "$word")
    elif _edgerouter_place "$location/$word"; then
      location=$location/$word
    fi
    previous=$word
  done
  if [[ $cur == --*=* ]]; then
    kind=$(_edgerouter_kind "$location" "${cur%%=*}")
    compset -P '*='
  elif [[ -z $kind || $kind == flag ]]; then
    kind=$(_edgerouter_argument "$location")
    if [[ $cur == -* || -z $kind || $kind == text ]]; then kind=words; fi
  fi
  case $kind in
    words)
      found=("${(@f)$(_edgerouter_words "$location")}")
      _describe -t commands edgerouter found
      ;;
    file) _files ;;
    folder) _files -/ ;;
    shell) compadd -- @shells@ ;;
    sink | source) compadd -- ${=$(@ask@ "$kind" "${given[@]}" 2>/dev/null)} ;;
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _edgerouter "$@"
else
  compdef _edgerouter edgerouter
fi
"""

_FISH: Final = """\
# fish completion of edgerouter; written by `edgerouter completion fish`.
# Use: edgerouter completion fish > ~/.config/fish/completions/edgerouter.fish

function __edgerouter_at
    set -l place ""
    set -l words (commandline -opc)
    for word in $words[2..-1]
        switch "$place/$word"
            case @fish_places@
                set place "$place/$word"
        end
    end
    test "$place" = "$argv[1]"
end

function __edgerouter_names
    set -l given
    set -l words (commandline -opc)
    for at in (seq 2 (count $words))
        switch $words[$at]
            case -c --config --spool
                set given $given $words[$at] $words[(math $at + 1)]
            case '--config=*' '--spool=*'
                set given $given $words[$at]
        end
    end
    @ask@ $argv[1] $given 2>/dev/null
end

complete -c edgerouter -f
@fish_lines@
"""


def script(shell: str, places: Sequence[Place]) -> str:
    """Return the script for a shell."""
    text = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    words = _printed_by_zsh if shell == "zsh" else _printed_by_bash
    parts = {
        "tables": _TABLES,
        "words": _cases(places, words),
        "kinds": "\n".join(_kinds(places)),
        "arguments": _cases([place for place in places if place.argument != "text"], lambda place: f"echo {place.argument}"),
        "places": " | ".join(place.path for place in places if place.path),
        "fish_places": " ".join(place.path for place in places if place.path),
        "fish_lines": "\n".join(line for place in places for line in _fish(place)),
        "shells": " ".join(SHELLS),
        "ask": _ASK,
    }
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


def _cases(places: Iterable[Place], run: Callable[[Place], str]) -> str:
    return "\n".join(f"    {_quoted(place.path)}) {run(place)} ;;" for place in places)


def _printed_by_bash(place: Place) -> str:
    words = [*(name for name, _ in place.commands), *(flag for option in place.options for flag in option.flags)]
    return f"echo {_quoted(' '.join(words))}"


def _printed_by_zsh(place: Place) -> str:
    """Print each word with its description."""
    described = [f"{name}:{text}" for name, text in place.commands]
    described += [f"{flag}:{option.help}" for option in place.options for flag in option.flags]
    return f"print -rl -- {' '.join(_quoted(word) for word in described)}"


def _kinds(places: Iterable[Place]) -> Iterable[str]:
    for place in places:
        for option in place.options:
            if option.kind != "flag":
                yield f"    {' | '.join(f'{place.path}:{flag}' for flag in option.flags)}) echo {option.kind} ;;"


def _fish(place: Place) -> Iterable[str]:
    at = f"complete -c edgerouter -n {_fish_quoted(f'__edgerouter_at {_fish_quoted(place.path)}')}"
    for name, text in place.commands:
        yield f"{at} -a {name} -d {_fish_quoted(text)}"
    for option in place.options:
        yield f"{at} {_fish_flags(option)}{_fish_values(option.kind)} -d {_fish_quoted(option.help)}"
    if place.argument != "text":
        yield f"{at}{_fish_values(place.argument).replace(' -x', '').replace(' -r', '')}"


def _fish_flags(option: Option) -> str:
    return " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)


def _fish_values(kind: str) -> str:
    if kind == "flag":
        return ""
    if kind in ("sink", "source"):
        return f" -x -a '(__edgerouter_names {kind})'"
    return {"file": " -r -F", "folder": " -x -a '(__fish_complete_directories)'", "shell": f" -x -a '{' '.join(SHELLS)}'"}.get(
        kind, " -x"
    )


def _quoted(text: str) -> str:
    """Quote for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
