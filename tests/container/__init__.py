"""The container: a base image without a registry, podman, and the examples of config/ for compose
and Kubernetes."""
