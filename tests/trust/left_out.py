"""Public names that the walk leaves out, each with the reason."""

from __future__ import annotations

_READERS = "reads or writes files: what is in them is spoiled in the tests of the readers"
_OPTIONS = "options of a run or a command, whose ranges are tested where they are read"
_PARTS = "takes parts of a training step, which are tested together in tests/objective"
_HEADS = "a head over what the segmenter reads, tested through networks in tests/segmenter"
_FIGURES = "draws figures of matplotlib; its arguments are tested in tests/visualize"

_GROUPS: dict[str, tuple[str, str]] = {
    "backbone": (
        "takes timm's modules and states",
        "adapt_prefix_tokens compile_blocks final_norm_name query_key",
    ),
    "cli": ("a command: its options are tested in tests/cli", "main"),
    "data": (
        _READERS,
        "COCO2014 FolderDataset HuggingFaceDataset labels_from_cvat "
        "labels_from_labelstudio labels_from_yolo read_class_list "
        "Reading ReadingChanges VOC2012 array_of bands_of build_train_aug check_class_list "
        "picture_of read_bands "
        "check_masks compare_masks shows_its_pixels uneven_classes coco_splits download_archives "
        "download_coco find_coco_root image_size label_table labels_from_coco "
        "labels_from_folders labels_from_masks labels_from_voc missing_images read_image "
        "read_label_map read_labels read_photograph split_table write_label_map write_labels "
        "write_masks",
    ),
    "deploy": (
        "records a network, which takes seconds; its arguments are tested in tests/deploy",
        "DeployedSegmenter export_onnx export_program metadata_of",
    ),
    "formats": (
        _READERS,
        "write_annotations write_coco write_cvat write_labelstudio "
        "write_yolo brush_runs outlines run_lengths without_holes",
    ),
    "inference": (
        _READERS,
        "EvaluationOptions ExportOptions LabelSource PredictionOptions PredictionWriter "
        "RunOptions PredictionFolder Predictor Segmentation check_apart check_own search_images "
        "describe find_network load made_by_file predict_folder run_card "
        "evaluate export_pseudo_labels file_hash find_images predict_paths "
        "record_settings result_table result_to_dict versions",
    ),
    "objective": (
        _PARTS,
        "ClassMix CropView Draws check_masks GivenLabels LocalCrops MixedView Needs "
        "ObjectiveOutput OnlineLabels "
        "Part PatchMask PhasedLabels PixelLabels PropagatedLabels Recipe ResizedView SizedMaps "
        "Step TeacherTargets Term TokenLabels Weighted build_recipe",
    ),
    "objective.recipes": (
        _PARTS,
        "afa_recipe beco_recipe build_recipe fsr_recipe mctformer_recipe one_stage_recipe "
        "recam_recipe rrm_recipe seam_recipe supervised_recipe toco_recipe urn_recipe "
        "vit_pcm_recipe",
    ),
    "objective.terms": (
        _PARTS,
        "Affinity AuxiliaryClassification CamConsistency ClassTokenContrast "
        "ClassTokenSeparation Classification ClassificationOfViews ClassifierPenalty "
        "ConfidentReinforcement Cotraining CrossEquivariance DenseEnergy Equivariance "
        "FrozenRelations LabelledSegmentation MinPooling PairAffinity PatchClassification "
        "PatchEquivariance PatchMaxClassification Prototypes Reactivation RegionSegmentation "
        "RegressionReinforcement Segmentation SelfSupervisedMask UncertainReinforcement "
        "ViewDifferences",
    ),
    "presets": (
        _OPTIONS,
        "AFA BECO CAMSource MCTformerPlus Method OneStage Preset RRM ReCAM SEAM Supervised ToCo "
        "URN ViTPCM register_method",
    ),
    "report": (_READERS, "compare_runs write_report"),
    "segmenter": (_READERS, "MethodHead ModelCard hub_file is_hub_id read_checkpoint"),
    "segmenter.heads": (
        _HEADS,
        "AverageLogits ClassTokenMeans FirstSegmenter Foreground ForegroundMasks "
        "MeanSegmentation OneStageSegmentation PatchMaxLogits PatchProbabilities ReCAMMaps "
        "RevisedCAM SecondSegmenter SegmentationScores",
    ),
    "train": (
        _OPTIONS,
        "CAMConfig Config DataConfig EvalConfig Loading ModelConfig OptimConfig Parts "
        "PresetConfig RunConfig SheetOptions ViewsConfig accumulation build_accelerator "
        "build_datasets build_drawn build_learning_rate build_method build_optimizer build_parts "
        "build_preset build_student build_views check_same_run choose_loading config_names "
        "find_config list_options load_config micro_batches moved_config nearest_option "
        "picture_sheet print_config read_config read_log run spell_options train_step "
        "upper_bound",
    ),
    "visualize": (
        _FIGURES,
        "attention_sheet comparison_sheet plot_attention_entropy plot_threshold_sweep",
    ),
}

LEFT_OUT = {
    f"{room}.{name}": reason for room, (reason, names) in _GROUPS.items() for name in names.split()
}
