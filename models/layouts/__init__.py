"""Networks of others by name: the layers and state-dict keys of published repositories, as YAML files beside this."""
