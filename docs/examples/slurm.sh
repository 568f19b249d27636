#!/usr/bin/env bash
# One part of the tests for each task of a Slurm job array; one ordinary run then judges the whole:
#
#     export PROVENANCE_STORE=/shared/provenance
#     parts=$(sbatch --parsable --array=1-8 slurm.sh suites/)
#     sbatch --dependency=afterany:"$parts" --wrap "pytest suites/"
#
# To run part 3 again: PARTS=8 sbatch --array=3 slurm.sh suites/
#SBATCH --job-name=provenance
#SBATCH --cpus-per-task=4
#SBATCH --gpus=1
#SBATCH --mem=48G
#SBATCH --time=04:00:00
set -euo pipefail

: "${PROVENANCE_STORE:?set it to a folder that all nodes share, or to a URL}"
exec pytest "$@" --splits "${PARTS:-$SLURM_ARRAY_TASK_COUNT}" --group "$SLURM_ARRAY_TASK_ID"
