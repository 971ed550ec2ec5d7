"""Satellite scenes to mineral maps, with tables.

A raster tile is a row; physics is a UDF; a map is a query.

schemas  what the tables look like          (pyarrow)
udfs     what is computed, pixel by pixel   (numpy, scipy)
engine   where it runs                      (local; spark and maxcompute later)
jobs     who calls whom                     (the command line)

This front door explains and imports nothing, so a worker that needs one UDF loads one UDF.
"""
