"""What is shown of experiments: tables with verdicts, figures, galleries, the report."""
