"""The methods of the paper's comparison: rows of a table, ideas, parts; without Sphinx."""

from __future__ import annotations

from typing import NamedTuple

STATUSES = ("works", "parts only", "not yet")
SINGLE, MULTI = "one", "several"
IMAGES, SALIENCY = "I", "I + S"
HEADING = ("method", "stages", "labels", "network", "VOC val", "COCO val", "status")
# The page of a method that works, where it is not called as the method is, in small letters.
PAGES = {"1Stage": "one_stage", "ViT-PCM": "vit_pcm", "MCTformer+": "mctformer"}


class Method(NamedTuple):
    """One method.

    Attributes:
        name: as the paper prints it, FSR for its "Ours".
        source: authors and year, likewise.
        stages: whether it trains in one stage or in several.
        labels: image-level labels, or those and saliency maps.
        network: as the paper prints it for VOC, and for COCO where that differs.
        voc: mIoU on VOC val that the paper prints.
        coco: mIoU on COCO val that the paper prints; empty where it prints none.
        idea: in a sentence.
        parts: public names of this package that it rests on.
        missing: what it needs beyond them.
        status: one of ``STATUSES``.
    """

    name: str
    source: str
    stages: str
    labels: str
    network: str
    voc: str
    coco: str
    idea: str
    parts: tuple[str, ...]
    missing: str
    status: str


RECIPE = "its recipe"
CAMS = "fsr.cam.class_activation_maps"

# In the order of the paper's Table 1, the method of the paper first.
METHODS = (
    Method(
        "FSR", "He et al. 2024", SINGLE, IMAGES, "†ViT-B", "75.7", "45.4",
        "A teacher's tokens teach the student what it cannot see: uncertain patches one by one, "
        "confident ones as an aggregate.",
        (
            "fsr.masking.UncertainMasker",
            "fsr.aggregation.MaskedCrossAttentionAggregator",
            "fsr.losses.SelfReinforcementLoss",
            "fsr.teacher.EMATeacher",
            "fsr.losses.PTCLoss",
            "fsr.refine.PAR",
            "fsr.objective.TrainingObjective",
        ),
        "", "works",
    ),
    Method(
        "RIB", "Lee et al. 2021a", MULTI, SALIENCY, "RN101", "70.2", "43.8",
        "The classifier is tuned on each image without its last saturating activation, so that "
        "less of the object is compressed away before the CAM.",
        (CAMS,),
        "tuning on single images; saliency maps", "not yet",
    ),
    Method(
        "EDAM", "Wu et al. 2021", MULTI, SALIENCY, "RN101", "70.9", "",
        "Masks of each class are part of the classifier, and features under them attend to each "
        "other across the images of a batch.",
        (),
        "class masks inside the classifier; attention across images; saliency maps", "not yet",
    ),
    Method(
        "EPS", "Lee et al. 2021b", MULTI, SALIENCY, "RN101", "71.0", "35.7",
        "Maps of all classes and of the background together have to make up a saliency map.",
        (CAMS,),
        "its loss; saliency maps", "not yet",
    ),
    Method(
        "SANCE", "Li, Fan, and Zhang 2022", MULTI, SALIENCY, "RN101", "72.0", "",
        "Contours learned beside coarse labels clean the borders of those labels.",
        (),
        "a network of contours; saliency maps", "not yet",
    ),
    Method(
        "L2G", "Jiang et al. 2022", MULTI, SALIENCY, "RN101", "72.1", "44.2",
        "A network of the whole image learns from the maps of one that sees many local crops.",
        (CAMS, "fsr.cam.crop_maps", "fsr.losses.cam_consistency_loss"),
        "the network of crops; its shape loss; saliency maps", "not yet",
    ),
    Method(
        "RCA", "Zhou et al. 2022", MULTI, SALIENCY, "RN38", "72.2", "",
        "Regions are contrasted with a memory of regions of the whole data set and draw context "
        "from it.",
        (CAMS,),
        "the memory, contrast and aggregation; saliency maps", "not yet",
    ),
    Method(
        "SEAM", "Wang et al. 2020", MULTI, IMAGES, "RN38", "64.5", "",
        "Maps of an image and of its smaller copy have to agree, before and after they are spread "
        "along the similarity of pixels.",
        (
            "fsr.refine.PixelCorrelation",
            "fsr.cam.seam_normalize",
            "fsr.losses.equivariance_losses",
            "fsr.losses.min_pooling_loss",
            "fsr.backbone.FeatureBackbone",
        ),
        "", "works",
    ),
    Method(
        "BES", "Chen et al. 2020", MULTI, IMAGES, "RN101", "65.7", "",
        "Boundaries are learned from where coarse maps change, and stop the maps' spread.",
        ("fsr.masking.boundary", "fsr.affinity.propagate"),
        "a network of boundaries and its labels", "not yet",
    ),
    Method(
        "CPN", "Zhang et al. 2021", MULTI, IMAGES, "RN38", "67.8", "",
        "Maps of two copies of an image with complementary patches hidden, added, have to agree "
        "with those of the whole image.",
        (CAMS,),
        "complementary hiding; its consistency and pixel-region correlation", "not yet",
    ),
    Method(
        "CDA", "Su et al. 2021", MULTI, IMAGES, "RN38", "66.1", "33.2",
        "Objects are cut out and pasted into other images, away from their usual context.",
        ("fsr.masking.class_mix", "fsr.masking.class_mix_mask"),
        "a store of cut-out objects; training on pairs", "not yet",
    ),
    Method(
        "ReCAM", "Chen et al. 2022", MULTI, IMAGES, "RN101", "68.5", "",
        "A softmax over the features that a CAM gathers for each class tells classes apart that "
        "binary losses mix up.",
        (
            "fsr.losses.recam_loss",
            "fsr.cam.recam",
            "fsr.cam.sum_flip",
            "fsr.cam.sum_sizes",
            "fsr.backbone.FeatureBackbone",
        ),
        "", "works",
    ),
    Method(
        "URN", "Li et al. 2022b", MULTI, IMAGES, "RN101", "69.5", "40.7",
        "Where labels change as scores are raised to a power, they count less.",
        (
            "fsr.refine.response_scaling_uncertainty",
            "fsr.refine.uncertainty_weights",
            "fsr.losses.weighted_cross_entropy",
            "fsr.losses.underfit",
            "fsr.refine.DenseCRF",
        ),
        "", "works",
    ),
    Method(
        "ESOL", "Li et al. 2022a", MULTI, IMAGES, "RN101", "69.9", "42.6",
        "A deformable convolution first learns to sample beyond the object's obvious parts, then "
        "to give back what is not object.",
        (CAMS,),
        "the deformable convolution and its two trainings", "not yet",
    ),
    Method(
        "ViT-PCM", "Rossetti et al. 2022", MULTI, IMAGES, "†RN101", "70.3", "45.0",
        "Every patch is classified, and the image has the classes of its surest patches.",
        (
            "fsr.pooling.patch_max",
            "fsr.decoder.GridLSTM",
            "fsr.losses.patch_score_loss",
            "fsr.cam.filter_by_labels",
            "fsr.losses.equivariance_targets",
            "fsr.losses.patch_cross_entropy",
        ),
        "", "works",
    ),
    Method(
        "MCTformer", "Xu et al. 2022", MULTI, IMAGES, "†RN38", "71.9", "42.0",
        "A class token for each class, whose attention to the patches is that class's map.",
        (
            "fsr.backbone.ViTBackbone",
            "fsr.attention.class_attention_maps",
            "fsr.attention.patch_affinity",
            "fsr.attention.fuse_maps",
            "fsr.attention.refine_maps",
        ),
        RECIPE, "parts only",
    ),
    Method(
        "OCR", "Cheng et al. 2023", MULTI, IMAGES, "†RN38", "72.7", "42.5",
        "Pixels predicted as a class that the image does not show are moved to those that it shows "
        "by a loss that ranks the two groups.",
        (),
        "its ranking loss", "not yet",
    ),
    Method(
        "BECO", "Rong et al. 2023", MULTI, IMAGES, "†MiT-B2; COCO: RN101", "73.7", "45.1",
        "Two networks teach each other where labels are unsure, and pasted classes give both sure "
        "boundaries.",
        (
            "fsr.masking.boundary",
            "fsr.masking.confident_share",
            "fsr.masking.class_mix",
            "fsr.losses.CotrainingLoss",
        ),
        "", "works",
    ),
    Method(
        "MCTformer+", "Xu et al. 2023", MULTI, IMAGES, "†RN38", "74.0", "45.2",
        "MCTformer with class tokens that are kept apart and a patch classifier whose scores are "
        "pooled by rank.",
        (
            "fsr.backbone.ViTBackbone",
            "fsr.attention.class_attention_maps",
            "fsr.attention.patch_affinity",
            "fsr.attention.fuse_maps",
            "fsr.attention.refine_maps",
            "fsr.pooling.global_weighted_ranking",
            "fsr.losses.class_token_separation",
        ),
        "", "works",
    ),
    Method(
        "RRM", "Zhang et al. 2020", SINGLE, IMAGES, "RN38", "62.6", "",
        "Only pixels of which the CAM or the dense CRF is sure are labels; a dense energy covers "
        "the rest.",
        (
            "fsr.refine.reliable_region",
            "fsr.refine.DenseCRF",
            "fsr.losses.joint_cross_entropy",
            "fsr.losses.DenseEnergyLoss",
            "fsr.losses.prototype_loss",
            "fsr.schedules.two_poly",
        ),
        "", "works",
    ),
    Method(
        "1Stage", "Araslanov and Roth 2020", SINGLE, IMAGES, "RN38", "62.7", "",
        "Masks inside the classifier are pooled by their own weight, refined along the image's "
        "edges, and become labels at once.",
        (
            "fsr.pooling.normalized_global_weighted_pooling",
            "fsr.pooling.focal_mask_penalty",
            "fsr.refine.PAMR",
            "fsr.refine.refine_masks",
            "fsr.refine.confident_masks",
            "fsr.losses.self_supervised_mask_loss",
            "fsr.decoder.StochasticGate",
            "fsr.decoder.GlobalCueInjection",
        ),
        "", "works",
    ),
    Method(
        "AFA", "Ru et al. 2022", SINGLE, IMAGES, "†MiT-B1", "66.0", "38.9",
        "Attention learns which patches belong together, and CAMs spread along it.",
        (
            "fsr.affinity.AttentionAffinity",
            "fsr.affinity.affinity_labels",
            "fsr.affinity.radius_mask",
            "fsr.losses.affinity_loss",
            "fsr.affinity.propagate_with_background",
            "fsr.refine.labels_between",
            "fsr.refine.refine_in_box",
            "fsr.data.PaddedCrop",
        ),
        "", "works",
    ),
    Method(
        "ToCo", "Ru et al. 2023", SINGLE, IMAGES, "†ViT-B", "71.1", "42.3",
        "Intermediate tokens keep final ones from growing alike, and class tokens of uncertain "
        "crops are contrasted with those of the image.",
        (
            "fsr.losses.PTCLoss",
            "fsr.losses.ClassTokenContrastLoss",
            "fsr.masking.uncertain_regions",
            "fsr.masking.sample_local_crops",
            "fsr.refine.refine_in_box",
            "fsr.data.PaddedCrop",
        ),
        "", "works",
    ),
)  # fmt: skip


def method_rows() -> list[list[str]]:
    """Return the table row by row, the heading first."""
    rows = [
        [
            f"{method.name} ({method.source})",
            *(method.stages, method.labels, method.network, method.voc, method.coco or "-"),
            method.status,
        ]
        for method in METHODS
    ]
    return [list(HEADING), *rows]


def page_of(method: Method) -> str:
    """Return the name of the page below ``methods`` that a method has; empty if it has none."""
    if method.status != "works" or method.name == "FSR":
        return ""
    return PAGES.get(method.name, method.name.lower())
