"""Drops are counted by topic, in bounded memory."""

from collections import Counter

from edgerouter.spool.log.drops import MOST_DROPS, OTHER_TOPICS, Drops


def test_a_flood_of_first_levels_makes_no_flood_of_counters() -> None:
    """Every drop stays counted; a client that invents topics fills neither the memory nor the metrics."""
    drops = Drops()
    drops.count("archive", Counter({"plant/a": 2, "plant/b": 1}), "spool_full")
    for number in range(20_000):
        drops.count("", Counter({f"{number}/x": 1}), "intake_full")
    assert len(drops) <= MOST_DROPS + 1
    assert drops["archive", "plant", "spool_full"] == 3
    assert drops["", OTHER_TOPICS, "intake_full"] == 20_000 - MOST_DROPS + 1
    assert drops.total() == 20_003


def test_long_first_levels_make_no_long_labels() -> None:
    """A topic may hold 65,535 bytes, and a thousand of them would make each scrape 60 MB."""
    drops = Drops()
    for number in range(2 * MOST_DROPS):
        drops.count("", Counter({f"{number:05}{'ä' * 30_000}": 1}), "intake_full")
    assert drops.total() == 2 * MOST_DROPS
    assert sum(len(topic.encode()) for _, topic, _ in drops) < 200_000
