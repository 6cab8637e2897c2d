"""Facts that a broker states: its version, and the properties of its CONNACK."""

from __future__ import annotations

from typing import Final

from edgerouter.doctor.broker.session import LONGEST_TEXT, Session
from edgerouter.doctor.broker.target import SUBJECT, Target
from edgerouter.doctor.finding import Finding, Verdict, finding

_VERSION_TOPICS: Final = ("$SYS/broker/version", "$SYS/brokers/+/version")
"""Of mosquitto and its relatives, and of EMQX."""
_ANSWER_SECONDS: Final = 1.0


async def read_version(session: Session) -> str:
    """Return name and version of the broker; empty where it shows none to this user."""
    for topic in _VERSION_TOPICS:
        if await session.subscribe(topic, 0):
            continue
        await session.arrive(1, quiet=_ANSWER_SECONDS, seconds=_ANSWER_SECONDS)
        for message in session.arrived:
            if message.topic.startswith("$SYS/") and message.topic.endswith("/version") and message.size <= LONGEST_TEXT:
                return message.beginning.decode(errors="replace")
    return ""


def findings(target: Target, session: Session, version: str) -> list[Finding]:
    """Return what the broker has stated, compared with the configuration."""
    verdict: Verdict = "ok" if version else "unknown"
    return [
        finding(SUBJECT, "version", verdict, version or "the broker shows no version below $SYS to this user"),
        _protocol(target),
        _quality(session),
        _expiry(target, session),
        _keep_alive(target, session),
        _wildcards(session),
    ]


def _protocol(target: Target) -> Finding:
    if target.version5:
        return finding(SUBJECT, "protocol", "ok", "MQTT 5")
    if target.unanswered:
        return finding(
            SUBJECT,
            "protocol",
            "fail",
            f"the broker answers to MQTT 3.1.1, and to a CONNECT of MQTT 5: {target.unanswered}",
            "set `protocol: 3.1.1` for this broker, or use one that speaks MQTT 5",
        )
    if target.config.protocol == "3.1.1":
        return finding(SUBJECT, "protocol", "ok", "MQTT 3.1.1, as configured")
    return finding(
        SUBJECT,
        "protocol",
        "warn",
        "MQTT 3.1.1 only: the broker alone decides the window and the life of sessions, and cannot refuse single messages",
        "use a broker that speaks MQTT 5, if there is a choice",
    )


def _quality(session: Session) -> Finding:
    highest = session.abilities.maximum_qos
    if highest == 0:
        return finding(
            SUBJECT, "QoS", "fail", "QoS 0 only: no message is acknowledged, so any may be lost", "use a broker with QoS 1"
        )
    return finding(SUBJECT, "QoS", "ok", f"QoS {highest} at most")


def _expiry(target: Target, session: Session) -> Finding:
    name, asked, granted = "session expiry", int(target.config.session_expiry), session.abilities.session_expiry
    if not target.version5:
        return finding(SUBJECT, name, "unknown", "with MQTT 3.1.1 the broker decides, and does not say")
    if granted is None or granted >= asked:
        return finding(SUBJECT, name, "ok", f"{asked} s granted, as asked for")
    return finding(
        SUBJECT,
        name,
        "warn",
        f"{granted} s granted, {asked} s asked for: after that time away, the messages that came meanwhile are lost",
        "raise the broker's bound of session expiry, or set a lower `session_expiry` to know what to expect",
    )


def _keep_alive(target: Target, session: Session) -> Finding:
    asked, given = target.config.keepalive, session.connection.client.keepalive
    if asked == given:
        return finding(SUBJECT, "keep-alive", "ok", f"{given} s, as asked for")
    return finding(SUBJECT, "keep-alive", "ok", f"{given} s, the broker's wish; {asked} s asked for")


def _wildcards(session: Session) -> Finding:
    if session.abilities.wildcards:
        return finding(SUBJECT, "wildcards", "ok", "subscriptions may hold + and #")
    return finding(
        SUBJECT, "wildcards", "warn", "the broker says that it has no subscriptions with + or #", "name each topic in `topics`"
    )
