"""Azure for edgerouter: Event Hubs, Blob Storage and Key Vault. Import the modules; nothing is imported from here."""
