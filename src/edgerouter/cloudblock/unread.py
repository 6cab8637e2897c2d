"""Find variables of the cloud block and of plugins that are not read: misspelt, or of a plugin that is not installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgerouter.cloudblock import cloud_variables, declared
from edgerouter.cloudblock.tree import BlockVariables
from edgerouter.config.misspelt import nearest_name, unread_line
from edgerouter.config.overlay import OWN
from edgerouter.extras import install_command
from edgerouter.variables import Preset, Variables


def not_installed(names: Iterable[str], plugins: Sequence[Variables], presets: Sequence[Preset] = ()) -> list[str]:
    """Return a line for each plugin whose variables are set while the distribution that brings it is not installed.

    Args:
        names: of the variables that are set.
        plugins: what the installed distributions declare.
        presets: presets that they declare.
    """
    there = {name.upper() for name in names}
    installed = {(each.kind, each.type) for each in plugins}
    lines = []
    for extra, by_plugin in cloud_variables.BY_EXTRA.items():
        for (kind, name), known in by_plugin.items():
            used = sorted(there & set(known))
            if used and (kind, name) not in installed:
                what = f"{kind.replace('_', ' ')} {name}"
                lines.append(
                    f"{what} is off: {', '.join(used)} {'is' if len(used) == 1 else 'are'} set, but no plugin of that name is"
                    f" installed; {install_command(extra)} brings it"
                )
    for extra, switch in cloud_variables.PRESETS.items():
        if switch in there and extra not in {preset.name for preset in presets}:
            lines.append(f"{extra} is off: {switch} is set, but the plugin is not installed; {install_command(extra)} brings it")
    return lines


def misspelt(names: Iterable[str], plugins: Sequence[Variables], presets: Sequence[Preset] = ()) -> list[str]:
    """Return a line for each variable whose name is nearly one of the cloud block's or a plugin's; those count without a file."""
    block = {alias for info in BlockVariables.model_fields.values() for alias in getattr(info.validation_alias, "choices", ())}
    known = {*block, *cloud_variables.names(), *(name for each in plugins for name in declared.names(each))}
    known |= {name for preset in presets for name in preset.names if name not in preset.generic}
    known = {str(name).upper() for name in known}
    cures = {prefix: cure for preset in presets for prefix, cure in preset.families.items()}
    names = sorted(names)
    there = {name.upper() for name in names}
    lines = []
    for name in names:
        upper = name.upper()
        if upper in known or upper.startswith(OWN):
            continue
        if near := nearest_name(upper, known - there):
            lines.append(unread_line(name, near))
        elif cure := next((cure for prefix, cure in cures.items() if upper.startswith(prefix)), None):
            lines.append(f"{name} is not read: {cure}")
    return lines
