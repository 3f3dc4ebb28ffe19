"""The words of the counter in Vietnamese and English (DESIGN 2), as `/v1/definitions` tells them.

Figures stand in braces and are filled in from what the counters hold to; they are never written twice.
"""

from __future__ import annotations

from typing import Literal

from services.runtime.panel import Language
from visits.refusal import Refusal
from visits.window import Windows

WORDS: dict[str, dict[Language, tuple[str, str]]] = {
    "site": {
        "vi": ("cổng, trang", "một cổng thông tin được khai báo trong cấu hình"),
        "en": ("site", "one portal, declared in the configuration"),
    },
    "page": {
        "vi": (
            "trang, bài",
            "một địa chỉ trong cổng, viết theo một dạng chuẩn: không tính tham số và dấu thăng, trừ tham số mà cổng đã chọn",
        ),
        "en": (
            "page",
            "one address of a site, written in one way: without query and fragment, but for the parameters a site names",
        ),
    },
    "view": {
        "vi": (
            "lượt xem",
            "một trang được hiển thị một lần; trang tải trước hoặc đang ẩn chưa được tính",
        ),
        "en": ("view", "a page shown once; not while it is prerendered or hidden"),
    },
    "visit": {
        "vi": (
            "lượt truy cập",
            (
                "một chuỗi hoạt động của một khách trên một cổng mà không khoảng nghỉ nào quá {visit_gap_minutes} phút;"
                " không bị cắt lúc nửa đêm"
            ),
        ),
        "en": (
            "visit",
            "a run of one visitor's events on one site with no gap above {visit_gap_minutes} minutes; not cut at midnight",
        ),
    },
    "visitor": {
        "vi": (
            "khách",
            (
                "một bí danh trên một cổng trong một ngày địa phương; khách của tuần là tổng số khách của các ngày."
                " Nhiều người dùng chung một địa chỉ và một loại trình duyệt là một bí danh, một người dùng hai mạng là hai bí danh"
            ),
        ),
        "en": (
            "visitor",
            (
                "one pseudonym of one site on one local day; visitors of a week are the days' visitors added up."
                " People who share an address and a browser string are one pseudonym, one person on two networks is two"
            ),
        ),
    },
    "online": {
        "vi": (
            "đang online",
            "số khách có hoạt động trong {online_minutes} phút vừa qua, mỗi khách tính một lần dù mở nhiều trang",
        ),
        "en": (
            "online",
            "distinct visitors seen in the last {online_minutes} minutes, each once however many pages are open",
        ),
    },
    "total": {
        "vi": ("tổng số", "số chuyển từ bộ đếm cũ + số đã đếm + số hiệu chỉnh"),
        "en": ("total", "carried over + counted + corrected"),
    },
    "carried_over": {
        "vi": (
            "chuyển sang",
            "số của bộ đếm cũ hoặc từ nhật ký máy chủ, ghi trong sổ kèm bằng chứng",
        ),
        "en": (
            "carried over",
            "what another counter or a server's log had, entered in the ledger with its evidence",
        ),
    },
    "corrected": {
        "vi": (
            "hiệu chỉnh",
            "số thêm hoặc bớt sau đó; mỗi lần đều có người, lý do và thời điểm trong sổ công khai",
        ),
        "en": (
            "corrected",
            "what was added or taken away later; who, why and when stands in the public ledger",
        ),
    },
    "other": {
        "vi": (
            "(other)",
            (
                "lượt xem được tính cho cổng nhưng không cho riêng một trang: địa chỉ ngoài các mẫu của cổng, quá dài,"
                " hoặc khi đã đủ {pages_max} trang"
            ),
        ),
        "en": (
            "(other)",
            (
                "views that count for the site but for no page of their own: addresses outside the site's patterns, too long ones,"
                " or those beyond {pages_max} pages"
            ),
        ),
    },
    "stale": {
        "vi": (
            "số cũ",
            "số trễ hơn 5 giây; vẫn là số đúng của thời điểm ghi bên cạnh, không bao giờ là số 0 giả",
        ),
        "en": (
            "stale",
            "more than 5 seconds late; true for the moment told beside it, and never a false 0",
        ),
    },
}
"""Word → language → (term, meaning)."""

PERIODS: dict[Windows, dict[str, dict[Language, str]]] = {
    Windows.ROLLING: {
        "today": {
            "vi": "từ đầu ngày địa phương đến bây giờ",
            "en": "from the beginning of the local day up to now",
        },
        "yesterday": {"vi": "trọn ngày địa phương trước", "en": "the whole local day before"},
        "week": {"vi": "7 ngày gần nhất, mỗi ngày 24 giờ", "en": "the last 7 days of 24 hours"},
        "month": {"vi": "30 ngày gần nhất, mỗi ngày 24 giờ", "en": "the last 30 days of 24 hours"},
        "year": {"vi": "365 ngày gần nhất, mỗi ngày 24 giờ", "en": "the last 365 days of 24 hours"},
    },
    Windows.CALENDAR: {
        "today": {
            "vi": "từ đầu ngày địa phương đến bây giờ",
            "en": "from the beginning of the local day up to now",
        },
        "yesterday": {"vi": "trọn ngày địa phương trước", "en": "the whole local day before"},
        "week": {
            "vi": "từ 0 giờ thứ Hai đến bây giờ",
            "en": "from Monday, 0:00 local time, up to now",
        },
        "month": {
            "vi": "từ 0 giờ ngày 1 của tháng đến bây giờ",
            "en": "from the 1st of the month, 0:00 local time, up to now",
        },
        "year": {
            "vi": "từ 0 giờ ngày 1 tháng 1 đến bây giờ",
            "en": "from 1 January, 0:00 local time, up to now",
        },
    },
}
"""How the windows are cut → window → language → what it covers."""

NOT_COUNTED: dict[Refusal | Literal["duplicate"], dict[Language, str]] = {
    "duplicate": {
        "vi": "cùng một mã lượt xem gửi lại trong {id_window_minutes} phút: lần gửi lại không phải là lượt xem mới",
        "en": "the same view's id again within {id_window_minutes} minutes: a repeated request is no new view",
    },
    Refusal.BOT: {
        "vi": "robot, máy thu thập và chương trình kiểm tra tự xưng tên, hoặc yêu cầu không có tên trình duyệt",
        "en": "robots, crawlers and monitors that give their name, and requests without a browser's name",
    },
    Refusal.PREFETCH: {
        "vi": "trình duyệt tải trước trang mà chưa hiển thị",
        "en": "a browser fetched the page ahead and has not shown it",
    },
    Refusal.OWN: {
        "vi": "người quản trị đã chọn không đếm lượt của chính mình",
        "en": "the webmaster chose not to count his own visits",
    },
    Refusal.PING: {
        "vi": "tín hiệu khách vẫn đang xem: giữ trạng thái online, không phải lượt xem",
        "en": "a sign that a reader is still there: keeps online, is no view",
    },
    Refusal.ORIGIN: {
        "vi": "trang gửi không thuộc cổng này",
        "en": "sent from a page that is none of this site's",
    },
    Refusal.RATE_LIMIT: {
        "vi": "quá nhiều yêu cầu từ một địa chỉ trong một giây",
        "en": "too many requests from one address within a second",
    },
    Refusal.BAD_PAGE: {
        "vi": "địa chỉ trang không hợp lệ",
        "en": "an address that names no page",
    },
}
"""What is refused → language → why. The other reasons are mistakes of whoever sends."""

NOTES: dict[str, dict[Language, str]] = {
    "page_views_by_day": {
        "vi": "lượt xem theo trang và theo ngày được giữ {page_days} ngày; lượt xem tổng của mỗi trang được giữ mãi",
        "en": "views by page and day are kept for {page_days} days; the views in all of each page are kept for ever",
    },
    "visitors_without_pseudonym": {
        "vi": "khách bật Do Not Track hoặc Global Privacy Control không có bí danh: chỉ tính lượt xem,"
        " và một lượt truy cập khi đến từ nơi khác",
        "en": "readers who ask not to be tracked (DNT, GPC) have no pseudonym: their views count,"
        " and a visit when they come from elsewhere",
    },
    "privacy": {
        "vi": "không lưu địa chỉ IP, không lưu tên trình duyệt, không dùng cookie; bí danh đổi mỗi ngày và không thể truy ngược",
        "en": "no IP address and no user agent is kept, no cookie is set; pseudonyms change each day and cannot be traced back",
    },
    "balance": {
        "vi": "đã nhận = đã đếm + trùng + từ chối theo lý do; tổng = chuyển sang + đã đếm + hiệu chỉnh;"
        " chênh lệch phải bằng 0 và ai cũng xem được",
        "en": "received = counted + duplicates + refused by reason; total = carried over + counted + corrected;"
        " the difference must be 0, and anyone may look",
    },
    "may_miss": {
        "vi": "khi một tiến trình nhận bị tắt đột ngột, có thể mất số lượt từ chối của 10 giây cuối; không bao giờ mất lượt xem",
        "en": "when an ingest process is killed, the refusals of its last 10 seconds may be lost; never a view",
    },
}
"""What else a reader of the numbers ought to know."""
