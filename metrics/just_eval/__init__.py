"""The just-eval suite, re-made: what is asked of an answer, in our own words, and which queries it is asked on."""
