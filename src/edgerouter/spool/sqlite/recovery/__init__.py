"""Recovery of a database after a crash, a power cut or bit rot."""
