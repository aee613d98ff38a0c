"""A box for a setting, made by magicgui from its declaration; our own widgets stand behind it."""

from typing import Any

from magicgui.application import use_app
from magicgui.widgets import CheckBox, create_widget
from magicgui.widgets.bases import CategoricalWidget, RangedWidget
from qtpy.QtWidgets import QCheckBox, QWidget

from ...values.declare import Ask, Setting
from .pieces import Combo
from .spins import Number, Whole


def _ours(name: str, native: type[QWidget], *how: str) -> Any:
    """magicgui's Qt widget of a name, with ours inside it in place of Qt's own."""
    theirs: Any = use_app("qt").get_obj(name)

    def init(self: Any, **kwargs: Any) -> None:
        super(theirs, self).__init__(native, *how, **kwargs)
        if native is Combo:
            self._qwidget.currentIndexChanged.connect(self._emit_data)

    return type(f"Our{name}", (theirs,), {"__init__": init})


_WHOLE, _NUMBER = _ours("SpinBox", Whole), _ours("FloatSpinBox", Number)
_COMBO = _ours("ComboBox", Combo, "isChecked", "setCurrentIndex", "")


class WholeBox(RangedWidget):
    """magicgui's box for whole numbers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"widget_type": _WHOLE})


class NumberBox(RangedWidget):
    """magicgui's box for numbers, which keeps every digit of a job file."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"widget_type": _NUMBER})


class ChoiceBox(CategoricalWidget):
    """magicgui's list of choices, which never makes the dock wider."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"widget_type": _COMBO})


class SettingField:
    """The box of one setting: `widget` is magicgui's, `native` Qt's; `value` the setting's own.

    A setting that is None where its box shows 0 (`Ask.zero`) is None again when it is read.
    """

    def __init__(self, name: str, told: Setting) -> None:
        """name : dotted, as "proposals.finest"."""
        self.name, self.told = name, told
        self.widget: Any = create_widget(
            value=self._inside(told.default),
            annotation=told.kind,
            name=name,
            label=told.title,
            widget_type=self._kind(),
            options={"tooltip": told.description} | self._options(),
        )
        self.native: QWidget = self.widget.native
        self.native.setAccessibleName(told.title)
        if isinstance(self.native, Combo):
            self.native.explain(told.description)
        if told.ask and told.kind in (int, float):
            self.native.setSpecialValueText(told.ask.zero)
            self.native.setSuffix(told.ask.suffix)

    @property
    def value(self) -> Any:
        value = self.widget.value
        return None if self.told.optional and not value else value

    @value.setter
    def value(self, value: Any) -> None:
        value = self._inside(value)
        if self.told.kind is float:  # above 0, and below the step that the box begins at
            self.widget.min = min(self.widget.min, value)
        self.widget.value = value

    @property
    def titled(self) -> bool:
        """Whether the box says its title itself."""
        return isinstance(self.native, QCheckBox)

    def _inside(self, value: Any) -> Any:
        return 0.0 if value is None else value

    def _kind(self) -> Any:
        kinds = {bool: CheckBox, int: WholeBox, float: NumberBox}
        return ChoiceBox if self.told.options else kinds[self.told.kind]

    def _options(self) -> dict[str, Any]:
        told, ask = self.told, self.told.ask or Ask()
        if told.kind is bool:
            return {}
        if told.options:
            return {"choices": list(zip(ask.words or told.options, told.options, strict=True))}
        low = 0 if told.optional else ask.step if told.above else told.low
        return {"min": low, "max": told.high, "step": ask.step}
