"""What tests of several parts use: programs, ports, configurations, objects, and bare clients."""
