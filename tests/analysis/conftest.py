"""Properties are checked by count of examples, never by the clock: a busy machine must not fail one."""

from hypothesis import settings

settings.register_profile("sics", deadline=None)
settings.load_profile("sics")
