# ruff: noqa: TID253
from gaga.runs.one_element import note_of_drawn as note_of_drawn
from gaga.runs.one_element import note_of_formulas as note_of_formulas
from gaga.runs.one_element import note_of_training as note_of_training
