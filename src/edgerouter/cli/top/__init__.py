"""The command `top`: a full-screen view of a running router."""
