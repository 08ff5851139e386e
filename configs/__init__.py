"""Presets, the settings that read them, and the prompts and demonstrations we ship."""
