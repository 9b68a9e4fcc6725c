"""The figures of a report, each drawn from a `ReportDocument` alone: `figure_list` for a page, `save_figures` for a paper."""

from sics_analysis.report.figures.gallery import FIGURES as FIGURES
from sics_analysis.report.figures.gallery import Figure as Figure
from sics_analysis.report.figures.gallery import figure_list as figure_list
from sics_analysis.report.figures.gallery import for_phones as for_phones
from sics_analysis.report.figures.gallery import save_figures as save_figures
