"""Networks of published repositories, by the name of their layout."""
