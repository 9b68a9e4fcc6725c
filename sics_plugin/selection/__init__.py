"""Which units go: exactly k of a pool, lowest score first, walked in parts."""
