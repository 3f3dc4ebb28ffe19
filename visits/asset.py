"""What of a web server's answers is no page: the images, scripts, styles, fonts, feeds, downloads that pages are made of.

A widget counts pages only; an access log lists everything. This is the one place that tells them apart, by the path's last
segment. An ending that is not listed (`.html`, `.aspx`, `.php`, `.do`, none at all) is a page's.
"""

from __future__ import annotations

_LISTS = {
    "images": "png jpg jpeg jpe jfif gif webp avif svg svgz ico cur bmp tif tiff apng heic psd",
    "scripts, styles, data that scripts fetch": "js mjs cjs css map json jsonp wasm xsl xslt less scss vue ts htc",
    "fonts": "woff woff2 ttf otf eot",
    "feeds, site maps, manifests": "xml rss atom rdf webmanifest manifest appcache wsdl xsd",
    "sound and film": "mp3 m4a aac ogg oga ogv opus wav wma mp4 m4v mov avi wmv webm flv swf mpg mpeg mkv m3u8 mpd m4s",
    "archives and programs": "zip gz tgz bz2 xz zst 7z rar tar jar war ear iso img exe msi dmg pkg deb rpm apk ipa bin dll so cab gem whl",
    "documents that the browser downloads": "pdf doc docx docm xls xlsx xlsm ppt pptx odt ods odp rtf epub csv tsv txt log md markdown tex",
    "sources and settings": "c h cpp py pyc rb lua sh conf cfg ini yml yaml toml spec mk m4 sql bak pcap access",
    "what ASP.NET answers to scripts": "axd ashx asmx svc",
}
ASSET_ENDINGS = frozenset(ending for endings in _LISTS.values() for ending in endings.split())
"""Endings (lower case, without the dot) of what is no page; those of the IANA media types a browser shows only within one."""

FEED_SEGMENTS = frozenset({"feed", "feeds"})
"""Last segments under which common portal software (WordPress, Joomla) answers feeds."""


def is_asset(path: str) -> bool:
    """Claim that a path names something that is no page.

    Args:
        path: as requested or canonical, without query and fragment; only its last segment matters, and `/.well-known/` (RFC 8615).
    """
    if path.startswith("/.well-known/"):
        return True
    last = path.rstrip("/").rpartition("/")[2].lower()
    # Java servers write the session into the path: /style.css;jsessionid=…
    name = last.partition(";")[0]
    _, dot, ending = name.rpartition(".")
    return name in FEED_SEGMENTS or (bool(dot) and ending in ASSET_ENDINGS)
