"""Measurements of a broker over sessions of the doctor, below a topic of the doctor."""
