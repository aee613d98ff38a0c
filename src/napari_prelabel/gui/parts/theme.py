"""Colours and spacing of the docks, taken from napari's theme."""

from napari.utils.theme import get_theme

SPACE = 6
MARGIN = 10
FOLDED = "▸"
OPEN = "▾"

_SHEET = """
QWidget#prelabel QLabel[role="muted"] {{ color: {muted}; }}
QWidget#prelabel QLabel[role="error"] {{ color: {error}; }}
QWidget#prelabel QLabel[role="head"] {{ font-weight: 600; }}
QWidget#prelabel QLabel[role="key"] {{
    background-color: {field}; border: 1px solid {line}; border-radius: 3px; padding: 1px 5px;
}}
QWidget#prelabel QPushButton {{ padding: 5px 10px; }}
QWidget#prelabel QPushButton[role="main"] {{
    background-color: {accent}; color: {on_accent}; font-weight: 600; padding: 7px 12px;
}}
QWidget#prelabel QPushButton[role="main"]:hover {{ background-color: {accent_hover}; }}
QWidget#prelabel QPushButton[role="main"]:disabled {{
    background-color: {field}; color: {muted};
}}
QWidget#prelabel QPushButton[role="link"] {{
    background: transparent; color: {link}; padding: 2px 4px; border: none; text-align: left;
}}
QWidget#prelabel QPushButton[role="link"]:hover {{ text-decoration: underline; }}
QWidget#prelabel QPushButton[role="fold"] {{
    background: transparent; text-align: left; padding: 4px 0px; font-weight: 600; border: none;
}}
QWidget#prelabel QPushButton[role="fold"]:focus {{ color: {link}; }}
QWidget#prelabel QPushButton:focus, QWidget#prelabel QComboBox:focus,
QWidget#prelabel QPlainTextEdit:focus, QWidget#prelabel QTableView:focus,
QWidget#prelabel QAbstractSpinBox:focus {{ border: 1px solid {link}; }}
QWidget#prelabel QPlainTextEdit {{
    background-color: {field}; border: 1px solid {line}; border-radius: 3px; padding: 4px;
}}
QWidget#prelabel QPlainTextEdit[wrong="true"] {{ border: 1px solid {error}; }}
QWidget#prelabel QTableView {{
    background-color: {field}; border: 1px solid {line}; border-radius: 3px;
    gridline-color: transparent; selection-background-color: {selected}; selection-color: {text};
}}
QWidget#prelabel QTableView::item {{ padding: 0px 4px; border: none; }}
QWidget#prelabel QTableView::indicator {{ width: 13px; height: 13px; }}
QWidget#prelabel QTableView::indicator:unchecked, QWidget#prelabel QTableView::indicator:checked {{
    border: 1px solid {muted}; border-radius: 2px; background: transparent;
}}
QWidget#prelabel QTableView::indicator:checked {{ image: url("theme_{id}:/check.svg"); }}
QWidget#prelabel QHeaderView::section {{
    background-color: {field}; color: {muted}; border: none; padding: 3px 4px;
}}
QWidget#prelabel QListView {{
    background-color: {field}; border: 1px solid {line}; border-radius: 3px;
    selection-background-color: {selected}; selection-color: {text};
}}
QWidget#prelabel QListView:focus {{ border: 1px solid {link}; }}
QWidget#prelabel QFrame[role="card"] {{
    background-color: {field}; border: none; border-radius: 3px;
}}
QWidget#prelabel QPushButton[role="tool"]:checked {{
    background-color: {accent}; color: {on_accent}; font-weight: 600;
}}
QWidget#prelabel QProgressBar {{
    background-color: {field}; border: none; border-radius: 3px; max-height: 8px; min-height: 8px;
}}
QWidget#prelabel QProgressBar::chunk {{ background-color: {accent}; border-radius: 3px; }}
QWidget#prelabel QFrame[role="rule"] {{ background-color: {line}; max-height: 1px; border: none; }}
QWidget#prelabel QFrame[role="info"], QWidget#prelabel QFrame[role="warning"],
QWidget#prelabel QFrame[role="failed"] {{
    background-color: {field}; border: none; border-left: 3px solid {accent}; border-radius: 2px;
}}
QWidget#prelabel QFrame[role="warning"] {{ border-left-color: {warning}; }}
QWidget#prelabel QFrame[role="failed"] {{ border-left-color: {error}; }}
QWidget#prelabel QFrame[role] QLabel {{ background: transparent; }}
"""

Rgb = tuple[int, int, int]


def sheet(theme_id: str) -> str:
    """The docks' style sheet in a napari theme."""
    theme = get_theme(theme_id)
    dark = theme.type == "dark"
    back, text = _rgb(theme.background), _rgb(theme.text)
    accent: Rgb = (62, 126, 193) if dark else (36, 102, 173)
    return _SHEET.format(
        id=theme.id,
        text=_css(text),
        muted=_css(_blend(text, back, 0.35)),
        error=_css((255, 122, 112) if dark else (176, 32, 24)),
        warning=_css((226, 171, 60) if dark else (186, 120, 0)),
        accent=_css(accent),
        accent_hover=_css(_blend(accent, (255, 255, 255), 0.14)),
        on_accent="rgb(255, 255, 255)",
        link=_css((128, 184, 240) if dark else (26, 88, 158)),
        field=_css(_blend(back, (0, 0, 0) if dark else (255, 255, 255), 0.25)),
        line=_css(_blend(back, text, 0.22)),
        selected=_css(_blend(back, accent, 0.45)),
    )


def _rgb(colour: object) -> Rgb:
    r, g, b = colour.as_rgb_tuple()[:3]  # type: ignore[attr-defined]
    return int(r), int(g), int(b)


def _blend(a: Rgb, b: Rgb, share: float) -> Rgb:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore


def _css(colour: Rgb) -> str:
    return "rgb({}, {}, {})".format(*colour)
