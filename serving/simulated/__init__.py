"""The simulated world: four models that read text and write text, and a true quality that no real judge can give.

Everything here is a model of the world with stated assumptions (`docs/simulated.md`); its numbers are measured on
published runs, and results made with it are always called simulated.
"""
