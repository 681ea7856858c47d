"""Engines that call `advance` at least once per run and pause: queue, timers and recovery."""
