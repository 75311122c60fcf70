"""Many runs as few programs: points, plan, population, mapped, batched, Ray, progress.

Imports `training`, `reports` and the rooms below; only commands import it. Start with plan.py: what a sweep will train.
launch.py trains the plan, population.py one group of runs that share programs: mapped.py several at a time, each by its
own, batched.py all in one program. cluster.py does so on Ray.
"""
