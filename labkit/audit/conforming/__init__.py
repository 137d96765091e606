"""The conformance audit: does a training function do, step by step, what its settings say?"""
