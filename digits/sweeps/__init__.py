"""Many runs as few programs: points, plan, population, mapped, batched, Ray, progress.

Imports `training`, `reports` and the rooms below; only commands import it. Start with plan.py: it lists the runs of a
sweep. launch.py trains them, population.py those that share a device: mapped.py calls a run's own program for several
runs at a time, batched.py trains all runs in one program. cluster.py trains populations on Ray.
"""
