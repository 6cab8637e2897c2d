"""Doubles of AWS services that are as strict as the services where moto is lenient, and that can inject faults."""
