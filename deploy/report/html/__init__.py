"""Reports as one offline page: contents, charts and the page itself."""
