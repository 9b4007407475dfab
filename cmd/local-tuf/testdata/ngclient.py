"""Download a target with python-tuf's own client: URL ROOT DIR TARGET CA [header VALUE | cert FILE KEY]."""

import sys
from pathlib import Path

from tuf.ngclient import Updater
from tuf.ngclient._internal.proxy import ProxyEnvironment
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

url, root, directory, target, ca, *access = sys.argv[1:]
settings = {"ca_certs": ca}
if access[:1] == ["header"]:
    settings["headers"] = {"Authorization": access[1]}
elif access:
    settings |= {"cert_file": access[1], "key_file": access[2]}
fetcher = Urllib3Fetcher()
fetcher._proxy_env = ProxyEnvironment(**settings)
metadata, targets = Path(directory, "metadata"), Path(directory, "targets")
metadata.mkdir()
targets.mkdir()
updater = Updater(
    str(metadata),
    f"{url}/metadata/",
    str(targets),
    f"{url}/targets/",
    fetcher=fetcher,
    bootstrap=Path(root).read_bytes(),
)
updater.refresh()
info = updater.get_targetinfo(target)
print(updater.download_target(info), end="")
