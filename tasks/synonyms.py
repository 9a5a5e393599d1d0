"""What the field, and other libraries, call the things that are named here: facts about words, no behaviour.

A word is looked up in lower case, with `_` for `-` and spaces. What it may mean here comes in order of likelihood; the
first that there is where the word stands is meant.
"""

_STEPS = ("steps", "queries", "generations", "passes", "epochs")
_STEP = ("alpha", "lr", "source_step", "min_step")
_RATIO = ("share", "smoothing", "dropout")

SYNONYMS: dict[str, tuple[str, ...]] = {
    # parameters
    **dict.fromkeys(("iterations", "iteration", "iters", "iter", "niter", "n_iter", "n_iters", "nb_iter"), _STEPS),
    **dict.fromkeys(("num_iter", "num_iters", "num_iterations", "n_iterations", "max_iter", "max_iters"), _STEPS),
    **dict.fromkeys(("max_iterations", "num_steps", "n_steps", "nb_steps", "max_steps", "maxiter"), _STEPS),
    **dict.fromkeys(("n_queries", "num_queries", "max_queries", "query_budget"), ("queries", "steps")),
    **dict.fromkeys(("epsilon", "epsilons", "radius", "max_norm", "perturbation_size"), ("eps",)),
    **dict.fromkeys(("step_size", "stepsize", "step", "eps_step", "eps_iter", "rel_stepsize", "abs_stepsize"), _STEP),
    **dict.fromkeys(("alpha", "learning_rate", "learningrate"), ("lr", "alpha")),
    **dict.fromkeys(("n_restarts", "num_restarts", "nb_restarts", "num_random_init", "n_init"), ("restarts",)),
    **dict.fromkeys(("rand_init", "random_init", "rand_start"), ("random_start",)),
    **dict.fromkeys(("batchsize", "bs", "train_batch_size"), ("batch_size",)),
    **dict.fromkeys(("num_epochs", "n_epochs", "nb_epochs", "max_epochs"), ("epochs",)),
    **dict.fromkeys(("optim", "opt"), ("optimizer",)),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), ("schedule",)),
    **dict.fromkeys(("wd", "l2_penalty"), ("weight_decay",)),
    **dict.fromkeys(("n_classes", "num_classes", "n_target_classes"), ("target_classes", "candidates")),
    **dict.fromkeys(("ratio", "rate", "fraction"), _RATIO),
    **dict.fromkeys(("num_samples", "n_samples", "n_examples", "num_examples"), ("samples", "count")),
    **dict.fromkeys(("loss_fn", "loss_function"), ("loss",)),
    **dict.fromkeys(("kappa", "margin"), ("confidence",)),
    **dict.fromkeys(("binary_search_steps", "num_binary_search_steps"), ("search_steps",)),
    **dict.fromkeys(("layer_sizes", "hidden_sizes", "widths"), ("hidden",)),
    # keys of a spec
    **dict.fromkeys(("random_seeds", "random_seed"), ("seeds", "seed")),
    **dict.fromkeys(("model", "models", "network", "networks", "net"), ("architecture",)),
    **dict.fromkeys(("blocks", "grid"), ("cells",)),
    **dict.fromkeys(("normalisation", "normalization", "preprocessing", "scaling", "rescale"), ("inputs",)),
    **dict.fromkeys(("init", "initializer", "initialiser", "weight_init"), ("initialisation",)),
    **dict.fromkeys(("p", "ord", "lp"), ("norm",)),
    **dict.fromkeys(("target", "targeted"), ("targets",)),
    # values
    **dict.fromkeys(("inf", "l_inf", "l_infinity", "linfinity", "infinity", "l∞", "max"), ("linf",)),
    **dict.fromkeys(("2", "l_2", "euclidean"), ("l2",)),
    **dict.fromkeys(("1", "l_1"), ("l1",)),
    **dict.fromkeys(("0", "l_0"), ("l0",)),
    **dict.fromkeys(("normalised", "normalized", "standardized"), ("standardised",)),
    **dict.fromkeys(("unscaled", "pixels", "unit"), ("raw",)),
    **dict.fromkeys(("glorot", "xavier", "xavier_uniform", "keras"), ("glorot_uniform",)),
    **dict.fromkeys(("cross_entropy", "crossentropy", "xent"), ("ce",)),
    # components
    **dict.fromkeys(("none", "no_defense", "standard", "undefended", "vanilla", "clean"), ("natural",)),
    **dict.fromkeys(("adversarial_training", "at", "madry", "pgd_at"), ("pgd_training",)),
    **dict.fromkeys(("smoothing", "rs"), ("randomised_smoothing", "label_smoothing")),
    **dict.fromkeys(("randomized_smoothing",), ("randomised_smoothing",)),
    **dict.fromkeys(("carlini", "carlini_wagner", "c&w", "cwl2", "cw_l2"), ("cw",)),
    **dict.fromkeys(("aa", "auto_attack"), ("autoattack",)),
    **dict.fromkeys(("ifgsm", "i_fgsm", "basic_iterative_method"), ("bim",)),
    **dict.fromkeys(("fgm", "fgv"), ("fast_gradient_value", "fgsm")),
    **dict.fromkeys(("auto_pgd", "autopgd", "apgd_ce", "apgd_dlr", "apgdt"), ("apgd",)),
    **dict.fromkeys(("boundary_attack",), ("boundary",)),
    **dict.fromkeys(("square_attack",), ("square",)),
    **dict.fromkeys(("onepixel", "pixel"), ("one_pixel",)),
    **dict.fromkeys(("uap", "universal_perturbation"), ("universal",)),
    **dict.fromkeys(("fashionmnist", "fmnist"), ("fashion_mnist",)),
    **dict.fromkeys(("cifar_10", "cifar"), ("cifar10",)),
    **dict.fromkeys(("cifar_100",), ("cifar100",)),
    **dict.fromkeys(("tinyimagenet",), ("tiny_imagenet",)),
    **dict.fromkeys(("fully_connected", "dense"), ("mlp",)),
    **dict.fromkeys(("wrn", "wideresnet"), ("wide_resnet",)),
}
"""From a word to what it may mean here."""
