"""The documentation site: the notebooks as they are stored, and a reference of the modules.

`python -m tools.docs` builds it.
"""

from mnist_nb import __version__

project = "mnist_nb"
author = "The mnist_nb maintainers"
copyright = "2026 onwards, the mnist_nb maintainers"
release = __version__

root_doc = "contents"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["**/.ipynb_checkpoints"]
nb_custom_formats = {".ipynb": "tools.docs.read_notebook"}
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"mnist_nb {release}"
html_static_path = []
html_show_sphinx = False
