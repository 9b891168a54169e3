"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Deadlines measure the machine: a first draw of text takes seconds on a busy one.
settings.register_profile("seeder", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("seeder")
