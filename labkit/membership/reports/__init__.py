"""What an attack's scores say: intervals, curves and the report."""
