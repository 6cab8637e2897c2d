"""The HTTP source: a server that stores what is posted to it, and answers after the commit."""
