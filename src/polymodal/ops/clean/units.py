"""Units of measurement as people write them in cells. What a unit is worth is pint's to say."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

_SYMBOLS = {  # by what they measure; no megagram: "500 MG" on a medicine is in milligrams
    "length": "in ft yd mi nm μm mm cm dm m km",
    "mass": "oz lb st ng μg mg g kg t",
    "volume": "floz gal μl ml cl dl l kl",  # the gallon of the United States
    "area": "mm² cm² m² km² ft² ha acre",
    "time": "ns μs ms s min h d",
    "temperature": "K °C °F",
    "speed": "m/s km/h mph",
    "pressure": "mPa Pa kPa MPa GPa mbar bar psi mmHg",
    "energy": "mJ J kJ MJ GJ cal kcal Wh kWh",
    "power": "nW μW mW W kW MW GW",
    "voltage": "nV μV mV V kV MV",
    "current": "pA nA μA mA A kA",
    "resistance": "mΩ Ω kΩ MΩ GΩ",
    "frequency": "mHz Hz kHz MHz GHz",
}
UNITS = {symbol: measure for measure, symbols in _SYMBOLS.items() for symbol in symbols.split()}
_OF_PINT = {"st": "stone", "floz": "fluid_ounce", "acre": "international_acre"}  # symbols that it has not
_ELSE = {  # what people write and pint does not know, or takes for something else
    '"': "in", "″": "in", "”": "in", "'": "ft", "′": "ft", "’": "ft", "lbs": "lb", "kgs": "kg", "kilo": "kg",
    "kilos": "kg", "gr": "g", "cc": "ml", "fl oz": "floz", "sqft": "ft²", "sqm": "m²", "c": "°C", "f": "°F",
    "kmh": "km/h", "kph": "km/h", "acres": "acre",
}  # fmt: skip
_SMALL: dict[str, str | None] = {}  # small letters -> the unit, None where capitals make a difference (mW, MW)
for _symbol in UNITS:
    _SMALL[_symbol.lower()] = None if _symbol.lower() in _SMALL else _symbol


@lru_cache(maxsize=4096)
def unit_called(name: str) -> str | None:
    """The symbol in `UNITS` of what somebody calls a unit, or None."""
    plain = " ".join(name.replace("µ", "μ").replace("\u2126", "Ω").replace(".", "").split())
    plain = re.sub(r"(?<=[mMtT])2$", "²", re.sub(r"[oO]hms?$", "Ω", plain))
    small = plain.lower()
    if plain in UNITS:
        return plain
    if small in _ELSE or small in _SMALL:
        return _ELSE.get(small) or _SMALL[small]
    square, _, side = small.partition(" ")
    if square in ("sq", "square") and side:
        return area if (area := f"{unit_called(side)}²") in UNITS else None
    for prefix, unit, _ in _registry().parse_unit_name(small):
        if small.startswith(prefix):  # spelled out: what "Mwatt" means is not guessed
            return _spelled().get(prefix + unit)
    return None


@cache
def conversion(unit: str, into: str) -> tuple[float, float]:
    """(factor, offset) for symbols of one measure: a number in `unit` is factor · number + offset in `into`."""
    from fractions import Fraction  # pint's own floats would make 5 ft 1.5239999999999998 m

    names = [_OF_PINT.get(symbol, symbol) for symbol in (unit, into)]
    nought, one = (_registry().convert(Fraction(n), *names) for n in (0, 1))
    return float(one - nought), float(nought)


@cache
def _registry() -> Any:
    from fractions import Fraction

    import pint

    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    registry.define("international_acre = 4840 * yard ** 2")  # pint's acre is by the survey foot, given up in 2022
    return registry


@cache
def _spelled() -> dict[str, str]:
    """Symbols by the names that pint gives them in full; squares and quotients have none."""
    read = {symbol: _registry().parse_unit_name(_OF_PINT.get(symbol, symbol)) for symbol in UNITS}
    return {parts[0][0] + parts[0][1]: symbol for symbol, parts in read.items() if parts}
