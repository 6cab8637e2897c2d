"""Sparkplug B for edgerouter: the step sparkplug-b. Nothing is imported before a configuration names it."""
