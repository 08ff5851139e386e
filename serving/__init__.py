"""Where LMs come from: roles, endpoints, and local vLLM processes."""
