"""Real proxies before our services, with the very lines that docs/proxy.md shows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.document import read_document
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Process, ProcessError, answers_ok
from tests.support.visit_counter import REPOSITORY

PREFIX = "/vc"
SHOWN = ("127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8083")
"""Where the services are in the documentation."""

NGINX = """\
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off; types {{ text/html html; }}
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen {address};
        root {pages}; ssi on;
        {lines}
    }}
}}
"""
APACHE = """\
ServerRoot {directory}
ServerName {address}
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
ErrorLog /dev/stderr
Listen {address}
{modules}
{user}
TypesConfig /dev/null
AddType text/html .html
DocumentRoot {pages}
DirectoryIndex index.html
<Directory {pages}>
    Require all granted
</Directory>
{lines}
"""
APACHE_MODULES = ("mpm_event", "authz_core", "dir", "mime", "proxy", "proxy_http")
APACHE_FOLDER = Path("/usr/lib/apache2/modules")


SEARCHED = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
"""Where servers are, which a user's PATH may leave out."""


def has_program(kind: str) -> bool:
    """Claim that a kind of proxy is installed."""
    return shutil.which(_program(kind), path=SEARCHED) is not None


class Proxy(Process):
    """A proxy that serves a folder at `/` and our service at `/vc/`."""

    def __init__(self, kind: str, service_port: int, pages: Path, directory: Path) -> None:
        """Describe it; nothing starts yet.

        Args:
            kind: `nginx`, `nginx split`, `apache` or `caddy`.
            service_port: where the service listens.
            pages: the folder of the portal's pages.
            directory: for its files.
        """
        directory.mkdir(parents=True, exist_ok=True)
        pages.chmod(0o755)
        port = free_port()
        self.address = f"{LOOPBACK}:{port}"
        self.base_url = f"http://{self.address}"
        lines = _shown_lines(kind, service_port)
        config = directory / f"{kind.replace(' ', '-')}.conf"
        config.write_text(_whole(kind, lines, self.address, pages, directory), encoding="utf-8")
        super().__init__(
            _command(kind, config),
            name=kind,
            log_path=directory / "proxy.log",
            is_ready=lambda _process: answers_ok(f"{self.base_url}{PREFIX}/livez"),
            environment={"HOME": str(directory), "XDG_DATA_HOME": str(directory)},
            directory=directory,
        )


def _shown_lines(kind: str, service_port: int) -> str:
    """Return the documented lines, with our service in place of the documented one."""
    language, _, variant = kind.partition(" ")
    blocks = read_document(REPOSITORY / "docs" / "proxy.md").blocks_of(language)
    lines = blocks[1 if variant else 0]
    assert any(shown in lines for shown in SHOWN)
    for shown in SHOWN:
        lines = lines.replace(shown, f"{LOOPBACK}:{service_port}")
    return lines


def _whole(kind: str, lines: str, address: str, pages: Path, directory: Path) -> str:
    """Return a whole configuration around the documented lines."""
    if kind == "caddy":
        placed = lines.replace("portal.example", f"http://{address}").replace(
            "/srv/portal", str(pages)
        )
        return f"{{\n    admin off\n    auto_https off\n}}\n{placed}"
    if kind == "apache":
        loaded = (
            f"LoadModule {name}_module {APACHE_FOLDER}/mod_{name}.so" for name in APACHE_MODULES
        )
        return APACHE.format(
            directory=directory, address=address, modules="\n".join(loaded), pages=pages, lines=lines,
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
        )  # fmt: skip
    return NGINX.format(directory=directory, address=address, pages=pages, lines=lines)


def _command(kind: str, config: Path) -> list[str | Path]:
    """Return how the proxy is started in the foreground.

    Raises:
        ProcessError: it is not installed.
    """
    program = shutil.which(_program(kind), path=SEARCHED)
    if program is None:
        message = f"no {_program(kind)} found: run scripts/test-tools.sh"
        raise ProcessError(message)
    if kind == "caddy":
        return [program, "run", "--config", config, "--adapter", "caddyfile"]
    if kind == "apache":
        return [program, "-DFOREGROUND", "-f", config]
    return [program, "-c", config]


def _program(kind: str) -> str:
    return {"caddy": "caddy", "apache": "apache2"}.get(kind, "nginx")
