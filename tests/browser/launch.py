"The browser that the tests, screenshots and measurements use."

import shutil

# the shell, Chromium without its windows, loads the page with less than half of the CPU time
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch(playwright, *flags):
    "Start the first of these browsers that is in the PATH."
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path, (
        "this needs Chromium in the PATH: on Debian, apt-get install chromium-headless-shell"
    )
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
