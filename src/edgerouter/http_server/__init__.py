"""Building blocks of servers that others reach over HTTP: address, TLS, and a bound of connections."""
