# lme4's point estimate of the same model, for time only. Usage: Rscript lmer.R table.csv
suppressMessages(library(lme4))
d <- read.csv(commandArgs(TRUE)[1])
covariates <- grep("^z", names(d), value = TRUE)
f <- as.formula(paste("y ~ t +", paste(c(covariates, "(1 | mat)", "(1 | piece)", "(1 | lab)"), collapse = " + ")))
cat(system.time(lmer(f, d))[["elapsed"]], "\n")
